import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from probes import CONFIG, RewardFromBoth

from configs import DigitsConfig, Network
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner
from train.rl.train import load_run
from train.runs import checkpoint, metrics, run
from train.system.errors import Stopped, UserError


@pytest.fixture(scope="module")
def learner():
    return make_learner(RewardFromBoth(), CONFIG)


@pytest.fixture(scope="module")
def state(learner):
    state = jax.jit(learner.init)(jax.random.key(3), hyperparameters(CONFIG))
    return jax.jit(learner.update)(state)[0]


@pytest.fixture
def folder(tmp_path, state):
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, state, config=CONFIG, steps=40)
    return tmp_path


def restore(folder, state, config=CONFIG):
    with checkpoint.open_manager(folder, read_only=True) as manager:
        return checkpoint.restore(manager, jax.eval_shape(lambda: state), config=config)[1]


def refusal(folder, state, config=CONFIG):
    """The one sentence that a checkpoint is refused with."""
    with pytest.raises(UserError) as caught:
        restore(folder, state, config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bits(tree):
    def raw(leaf):
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(raw, tree)


def test_a_restored_state_continues_bit_for_bit(learner, state, folder):
    restored = restore(folder, state)
    jax.tree.map(np.testing.assert_array_equal, bits(restored), bits(state))
    update = jax.jit(learner.update)
    (one, first), (other, second) = update(state), update(restored)
    jax.tree.map(np.testing.assert_array_equal, bits(one), bits(other))
    assert jax.device_get(first) == jax.device_get(second)
    assert update._cache_size() == 1


def test_saving_does_not_disturb_the_next_update(learner, state, tmp_path):
    """The next update may reuse the buffers while the checkpoint is still being written."""
    update = jax.jit(learner.update, donate_argnums=0)
    mine = jax.tree.map(lambda x: x.copy(), state)
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, mine, config=CONFIG, steps=40)
        for _ in range(3):
            mine, _ = update(mine)
    jax.tree.map(np.testing.assert_array_equal, bits(restore(tmp_path, state)), bits(state))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "push"}, "made with --task probe, but the run's config.json says push"),
        ({"policy": "ppo"}, "made with --policy ndp, but the run's config.json says ppo"),
        ({"seed": 1}, "made with --seed 0, but the run's config.json says 1"),
        (
            {"ppo": dataclasses.replace(CONFIG.ppo, learning_rate=0.1)},
            "made with --learning-rate 0.001, but the run's config.json says 0.1",
        ),
        (
            {"network": Network(hidden=(32,))},
            "made with --hidden (16,), but the run's config.json says (32,)",
        ),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(changes, sentence, state, folder):
    assert sentence in refusal(folder, state, dataclasses.replace(CONFIG, **changes))


def test_settings_that_leave_training_as_it_is_may_change(state, folder):
    changed = dataclasses.replace(CONFIG, steps=4000, eval_every=1, keep_checkpoints=9)
    assert restore(folder, state, changed).updates == state.updates


def test_a_checkpoint_of_another_shape_is_refused(folder):
    """As after an upgrade of MJX that changes what its data hold."""
    wider = make_learner(RewardFromBoth(), dataclasses.replace(CONFIG, num_envs=9))
    other = jax.eval_shape(wider.init, jax.random.key(0), hyperparameters(CONFIG))
    assert "undamaged but of another shape" in refusal(folder, other)


def test_a_missing_checkpoint_is_one_sentence(tmp_path, state):
    (tmp_path / "checkpoints").mkdir()
    assert "holds no checkpoint yet" in refusal(tmp_path, state)
    run.save_config(tmp_path, dataclasses.replace(CONFIG, task="push"), {})
    (tmp_path / "checkpoints").rmdir()
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        load_run(tmp_path)


@pytest.mark.parametrize(("version", "writer"), [(3, "0.1.0"), (99, "7.0.0")])
def test_a_checkpoint_of_another_version_is_refused(version, writer, state, folder):
    file = folder / "checkpoints" / "40" / "made_by" / "metadata"
    found = {"format": version, "versions": {"ndp-jax": writer}}
    file.write_text(json.dumps(json.loads(file.read_text()) | found))
    message = refusal(folder, state)
    sentence = f"has format {version}, but this ndp-jax reads format {checkpoint.FORMAT}"
    assert f"{sentence}; use ndp-jax {writer}" in message


def files_of(folder):
    return sorted(path for path in (folder / "checkpoints" / "40").rglob("*") if path.is_file())


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def edit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax's threads
@pytest.mark.parametrize("damage", [Path.unlink, truncate, edit])
def test_a_damaged_file_is_noticed_or_does_not_matter(damage, state, folder, tmp_path_factory):
    """Whichever file it is: one sentence, or exactly what was saved."""
    noticed = 0
    for file in files_of(folder):
        copy = tmp_path_factory.mktemp("copy")
        shutil.copytree(folder / "checkpoints", copy / "checkpoints")
        damage(copy / file.relative_to(folder))
        try:
            restored = restore(copy, state)
        except UserError as error:
            noticed += 1
            assert "\n" not in str(error)
            assert str(copy) in str(error)
            continue
        jax.tree.map(np.testing.assert_array_equal, bits(restored), bits(state))
    assert noticed >= 3


@pytest.mark.parametrize("item", ["state", "made_by"])
def test_a_missing_part_is_one_sentence(item, state, folder):
    shutil.rmtree(folder / "checkpoints" / "40" / item)
    assert "cannot be read" in refusal(folder, state)


def test_edited_settings_beside_the_state_are_noticed(state, folder):
    file = folder / "checkpoints" / "40" / "made_by" / "metadata"
    made_by = json.loads(file.read_text())
    for changes in ({"versions": {}}, {"config": None}, {"digest": None}):
        file.write_text(json.dumps(made_by | changes))
        assert "is not what was written there; delete" in refusal(folder, state)


def test_a_run_without_evaluations_has_no_best(state, folder):
    none = pytest.raises(UserError, match=r"holds no checkpoint of its best evaluation yet")
    template = jax.eval_shape(lambda: state)
    with checkpoint.open_manager(folder, read_only=True) as manager, none:
        checkpoint.restore(manager, template, config=CONFIG, which="best")


def test_an_edited_number_is_noticed(state, folder):
    """Written by orbax itself, so that only the digest can tell."""
    other = state.replace(updates=state.updates + 1)
    with checkpoint.open_manager(folder) as manager:
        checkpoint.save(manager, other, config=CONFIG, steps=80)
    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints / "40" / "state")
    shutil.move(checkpoints / "80" / "state", checkpoints / "40" / "state")
    shutil.rmtree(checkpoints / "80")
    message = refusal(folder, state)
    assert "is not what was written there; delete" in message


def test_a_full_disk_is_one_sentence_and_what_was_saved_stays(state, folder, monkeypatch):
    class Full:
        """What writes in the background, and fails there."""

        def result(self, timeout=None):
            raise OSError(errno.ENOSPC, "No space left on device")

    async def full(*_, **__):
        return [Full()]

    stopped = pytest.raises(Stopped, match=r"the disk is full.* intact.*--resume")
    with stopped, checkpoint.open_manager(folder) as manager:
        monkeypatch.setattr(ocp.StandardCheckpointHandler, "async_save", full)
        monkeypatch.setattr(ocp.JsonCheckpointHandler, "async_save", full)
        checkpoint.save(manager, state, config=CONFIG, steps=80)
    jax.tree.map(np.testing.assert_array_equal, bits(restore(folder, state)), bits(state))


def test_an_imitation_is_saved_in_time_and_its_best_kept(tmp_path):
    """Errors of 3, 1 and 2 after 10, 20 and 30 steps."""
    config = DigitsConfig()
    state = {"params": jax.numpy.arange(3.0), "key": jax.random.key(1)}
    with checkpoint.open_manager(tmp_path, keep=1) as manager:
        save = checkpoint.Saver(manager, config, tmp_path)
        for steps, error in ((10, 3.0), (20, 1.0), (30, 2.0)):
            metrics.append(tmp_path / metrics.EVALUATIONS, {"steps": steps, "error": error})
            save({**state, "params": state["params"] + steps}, steps=steps, evaluated=True)
        assert manager.latest_step() == 20
        for steps in (40, 50):
            save(state, steps=steps, at_once=True)
        assert sorted(manager.all_steps()) == [20, 50]
    with checkpoint.open_manager(tmp_path, read_only=True) as manager:
        steps, best, _ = checkpoint.restore(manager, state, config=config, which="best")
        assert steps == 20
        np.testing.assert_array_equal(best["params"], state["params"] + 20)
        for other, sentence in (
            (dataclasses.replace(config, model="cnn"), "made with --model cnn-ndp, but the run's"),
            (CONFIG, "made with settings of another kind than those of the run's config.json"),
        ):
            with pytest.raises(UserError, match=sentence):
                checkpoint.restore(manager, state, config=other)
