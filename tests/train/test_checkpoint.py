import dataclasses
import json

import jax
import numpy as np
import pytest
from probes import CONFIG, RewardFromBoth

from configs import Network
from train import checkpoint
from train.agent import hyperparameters
from train.errors import UserError
from train.ppo import make_learner


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


def bits(tree):
    def raw(leaf):
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(raw, tree)


def test_a_restored_state_continues_bit_for_bit(learner, state, folder):
    template = jax.eval_shape(lambda: state)
    restored = checkpoint.restore_latest(folder, template, config=CONFIG)
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
    restored = checkpoint.restore_latest(tmp_path, jax.eval_shape(lambda: state), config=CONFIG)
    jax.tree.map(np.testing.assert_array_equal, bits(restored), bits(state))


@pytest.mark.parametrize("field", ["task", "policy"])
def test_a_checkpoint_of_something_else_is_refused(field, state, folder):
    other = dataclasses.replace(CONFIG, **{field: "ppo"})
    sentence = f"is of {field} '{getattr(CONFIG, field)}', but the run is of {field} 'ppo'"
    with pytest.raises(UserError, match=sentence):
        checkpoint.restore_latest(folder, jax.eval_shape(lambda: state), config=other)


def test_a_checkpoint_of_another_shape_is_refused(folder):
    wider = dataclasses.replace(CONFIG, network=Network(hidden=(32,)))
    learner = make_learner(RewardFromBoth(), wider)
    template = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(wider))
    with pytest.raises(UserError, match=r"does not fit the run's config.json") as caught:
        checkpoint.restore_latest(folder, template, config=wider)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_is_one_sentence(tmp_path, state):
    for _ in range(2):
        with pytest.raises(UserError, match="holds no checkpoint yet"):
            checkpoint.restore_latest(tmp_path, jax.eval_shape(lambda: state), config=CONFIG)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)


def test_a_damaged_checkpoint_is_one_sentence(folder, state):
    file = folder / "checkpoints" / "40" / "made_by" / "metadata"
    assert json.loads(file.read_text()) == {"task": "probe", "policy": "ndp"}
    file.write_text("{")
    with pytest.raises(UserError, match="cannot be read") as caught:
        checkpoint.restore_latest(folder, jax.eval_shape(lambda: state), config=CONFIG)
    assert "\n" not in str(caught.value)
