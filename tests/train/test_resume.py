"""A run that was interrupted ends like one that was not."""

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import killed
import numpy as np
import probes
import pytest
import trained
from probes import CONFIG
from rich.console import Console

from configs import PPO
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner
from train.runs import checkpoint, metrics, run
from train.system.errors import Stopped, UserError

EVALUATED = dataclasses.replace(CONFIG, eval_every=2)


def learn(folder, config=EVALUATED, *, signal_at=None, console=None):
    """Runs until the end, or until the update that ends at `signal_at` steps."""

    def publish(numbers, *, steps):
        if steps == signal_at and "success" in numbers:
            signal.raise_signal(signal.SIGTERM)

    return trained.learn(folder, config, publish=publish, console=console)[0]


def bits(state):
    return {name: np.asarray(leaf) for name, leaf in checkpoint._flatten(state).items()}


def rows(folder):
    """What the seed determines."""
    return [(folder / file).read_bytes() for file in ("metrics.csv", "evaluations.csv")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, learn(folder)


@pytest.mark.parametrize("steps", [pytest.param(40, marks=pytest.mark.slow), 200, 360])
def test_half_and_half_is_the_whole_bit_for_bit(whole, tmp_path, steps):
    folder, straight = whole
    half = learn(tmp_path, signal_at=steps)
    assert half.updates == steps // 40
    resumed = learn(tmp_path)
    assert bits(resumed).keys() == bits(straight).keys()
    for name, leaf in bits(straight).items():
        np.testing.assert_array_equal(bits(resumed)[name], leaf, err_msg=name)
    assert rows(tmp_path) == rows(folder)
    assert metrics.read(tmp_path, "timing.csv")["steps"] == list(range(40, 401, 40))
    seconds = metrics.read(tmp_path, "timing.csv")["seconds"]
    assert seconds == sorted(seconds)


def test_so_it_is_where_trajectories_are_explored(tmp_path):
    config = dataclasses.replace(EVALUATED, explore="trajectory")
    straight = learn(tmp_path / "whole", config)
    learn(tmp_path / "half", config, signal_at=200)
    resumed = learn(tmp_path / "half", config)
    for name, leaf in bits(straight).items():
        np.testing.assert_array_equal(bits(resumed)[name], leaf, err_msg=name)
    assert rows(tmp_path / "whole") == rows(tmp_path / "half")


def test_a_finished_run_is_left_as_it_is(whole, tmp_path):
    learn(tmp_path)
    before = rows(tmp_path)
    learn(tmp_path)
    assert rows(tmp_path) == before == rows(whole[0])


def test_more_steps_go_on_where_the_run_ended(whole, tmp_path):
    learn(tmp_path)
    state = learn(tmp_path, dataclasses.replace(EVALUATED, steps=600))
    assert state.updates == 15
    assert state.hyper.total_updates == 15
    assert rows(tmp_path)[0].startswith(rows(whole[0])[0])
    assert metrics.read(tmp_path)["steps"] == list(range(40, 601, 40))


def test_evaluation_does_not_change_training(whole, tmp_path):
    never = learn(tmp_path, CONFIG := dataclasses.replace(EVALUATED, eval_every=0))
    assert CONFIG.eval_every == 0 and not (tmp_path / "evaluations.csv").exists()
    for name, leaf in bits(whole[1]).items():
        np.testing.assert_array_equal(bits(never)[name], leaf, err_msg=name)
    assert rows(whole[0])[0] == (tmp_path / "metrics.csv").read_bytes()


def test_evaluations_are_of_action_means_and_exploring(whole):
    columns = metrics.read(whole[0], "evaluations.csv")
    assert columns["steps"] == [0, 80, 160, 240, 320, 400]
    assert columns["episodes"] == [8] * 6
    assert columns["returns"] != columns["stochastic_returns"]


def test_torn_and_later_rows_are_made_again(whole, tmp_path):
    learn(tmp_path, signal_at=200)
    for file in metrics.FILES:
        with (tmp_path / file).open("a") as rows_:
            rows_.write("240,1,2,3\n280,4")
    learn(tmp_path)
    assert rows(tmp_path) == rows(whole[0])


def test_missing_rows_are_one_sentence(tmp_path):
    learn(tmp_path, signal_at=200)
    path = tmp_path / "metrics.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        UserError, match="metrics.csv ends at 160 steps, but the checkpoint is of 2"
    ):
        learn(tmp_path)


def test_the_best_evaluation_and_the_latest_checkpoints_stay(whole):
    folder, state = whole
    columns = metrics.read(folder, "evaluations.csv")
    with checkpoint.open_manager(folder, read_only=True) as manager:
        scores = list(zip(columns["success"], columns["returns"], columns["steps"], strict=True))
        assert manager.latest_step() == 400
        assert set(manager.all_steps()) >= {400, max(scores)[2]}
        assert len(manager.all_steps()) <= EVALUATED.keep_checkpoints + 1
        steps, best, _ = checkpoint.restore(
            manager, jax.eval_shape(lambda: state), config=EVALUATED, which="best"
        )
    assert steps == max(scores)[2] == 40 * best.updates


def test_only_one_process_trains_in_a_folder(tmp_path):
    refusal = pytest.raises(UserError, match="Another process is training in")
    with run.held(tmp_path), refusal, run.held(tmp_path):
        pass
    with run.held(tmp_path):
        pass


def test_a_lost_checkpoint_folder_loses_no_rows(tmp_path):
    learn(tmp_path, signal_at=200)
    before = rows(tmp_path)
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="has rows but no checkpoint; put .*checkpoints back"):
        learn(tmp_path)
    assert rows(tmp_path) == before


def test_without_any_update_a_run_begins_anew(whole, tmp_path):
    """As after a kill between the first evaluation and the first checkpoint."""
    (tmp_path / "evaluations.csv").write_text("steps,success\n0,0.5\n")
    learn(tmp_path)
    assert rows(tmp_path) == rows(whole[0])


def test_a_checkpoint_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(UserError, match="checkpoints is a file; put the folder"):
        learn(tmp_path)


def test_tensorboard_has_the_row_before_anything_that_follows_it(tmp_path):
    seen = {}

    def publish(numbers, *, steps):
        events = b"".join(file.read_bytes() for file in sorted(tmp_path.glob("events.*")))
        seen[steps] = events.count(b"gradient_norm")

    trained.learn(tmp_path, CONFIG, publish=publish)
    assert [seen[steps] for steps in range(40, 401, 40)] == list(range(1, 11))


def test_another_version_is_named(tmp_path, monkeypatch, capsys):
    learn(tmp_path, signal_at=200)
    monkeypatch.setattr(checkpoint, "versions", lambda: {"jax": "99.0"})
    learn(tmp_path, console=Console(width=200))
    said = capsys.readouterr().out
    assert "Continuing at 200 steps" in said
    assert f"the checkpoint was made with jax {jax.__version__}, this is 99.0" in said


def test_other_physics_are_named(tmp_path, capsys):
    began, goes_on = (dataclasses.replace(CONFIG, impl=impl) for impl in ("c", "jax"))
    learn(tmp_path, signal_at=200, config=began)
    learn(tmp_path, console=Console(width=200), config=goes_on)
    said = capsys.readouterr().out
    assert "Not bit for bit: the checkpoint was made with impl c, this is jax" in said


def test_nothing_but_nan_stops_with_a_sentence_and_a_good_state(tmp_path):
    class Poisoned(probes.RewardFromBoth):
        """Finite for an environment, too large for the learner."""

        def reward(self, drawn, step, action):
            return 1e38 * super().reward(drawn, step, action)

    config = dataclasses.replace(CONFIG, ppo=PPO(minibatches=2, epochs=1, max_skipped=5))
    env = Poisoned()
    with pytest.raises(Stopped, match="The last 6 minibatches"):
        trained.learn(tmp_path, config, env=env)
    assert metrics.read(tmp_path)["skipped_in_a_row"] == [0, 2, 4, 6]
    learner = make_learner(env, config)
    template = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(config))
    with checkpoint.open_manager(tmp_path, read_only=True) as manager:
        steps, state, _ = checkpoint.restore(manager, template, config=config)
    assert steps == 160
    for leaf in jax.tree.leaves((state.params, state.optimizer, state.obs_stats, state.reward)):
        assert np.all(np.isfinite(leaf))


def kill_and_resume(folder: Path, kills: int) -> int:
    """Kills a run at `kills` random moments; returns how many left a half-written checkpoint.

    Every third kill comes while the process starts, restores and rewinds, the others in training.
    """
    moments, torn = random.Random(0), 0
    script = Path(killed.__file__)
    for kill in range(kills):
        already = rows_of(folder)
        process = subprocess.Popen([sys.executable, str(script), str(folder)])
        if kill % 3 == 2:
            time.sleep(moments.uniform(0, 8))
        else:
            while rows_of(folder) <= already and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.5))
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL), "a resume failed"
        torn += any("tmp" in path.name for path in folder.glob("checkpoints/*"))
    return torn


def rows_of(folder: Path) -> int:
    path = folder / "metrics.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 20])
def test_killed_at_random_moments_nothing_is_lost(tmp_path, kills):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    straight = killed.learn(tmp_path / "whole")
    torn = kill_and_resume(tmp_path / "killed", kills)
    resumed = killed.learn(tmp_path / "killed")
    for name, leaf in bits(straight).items():
        np.testing.assert_array_equal(bits(resumed)[name], leaf, err_msg=name)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert kills < 20 or torn > 0
