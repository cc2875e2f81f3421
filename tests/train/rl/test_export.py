import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import CONFIG, RewardFromBoth

import ndp_jax
import train.rl.export
from configs.fields import replaced
from ndp_jax import normalize
from train.rl.agent import hyperparameters, make_inference_fn, make_policy, observe
from train.rl.ppo import make_learner
from train.runs import run
from train.system.errors import UserError


class Robot(RewardFromBoth):
    """One joint that the primitive moves, and a gripper that it does not."""

    action_size = 2
    action_limit = 5.0
    action_scale = 0.05

    def robot_state(self, state):
        drawn = state.info["drawn"][None]
        return 0.3 * drawn, 0.1 * drawn


@pytest.fixture(params=["ndp", "ppo-multi", "ppo"])
def config(request):
    return dataclasses.replace(CONFIG, policy=request.param)


@pytest.fixture
def state(config):
    """As if it had learned."""
    state = jax.jit(make_learner(Robot(), config).init)(jax.random.key(0), hyperparameters(config))
    noise = jax.random.key(1)
    return state.replace(
        params=jax.tree.map(lambda x: x + jax.random.normal(noise, x.shape), state.params),
        observation=normalize.update(state.observation, jnp.linspace(-1, 2, 20)[:, None]),
        hyper=state.hyper.replace(goal_scale=jnp.asarray(0.07)),
    )


@pytest.fixture
def folder(tmp_path, config, state, monkeypatch):
    def load_run(folder, *, which):
        assert (folder, which) == (tmp_path, "latest")
        return config, Robot(), state

    monkeypatch.setattr(train.rl.export, "load_run", load_run)
    run.save_config(tmp_path, config, {"jax": "0.12"})
    return tmp_path


def test_an_exported_policy_is_the_learners(folder, config, state):
    path = train.rl.export.export(folder)
    assert path == folder / "policy.msgpack"
    policy = ndp_jax.load_policy(path)

    inputs = observe(Robot(), jax.vmap(Robot().reset)(jax.random.split(jax.random.key(2), 6)))
    learner = make_policy(Robot(), config, state.hyper)
    expected = make_inference_fn(learner, state.params, state.observation)(inputs).mean
    assert jnp.std(expected) > 0.1
    actions = policy(inputs.observation, inputs.velocity)
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)

    assert policy.about == {
        "task": "probe",
        "dt": 0.1,
        "action_scale": 0.05,
        "action_limit": 5.0,
        "versions": {"jax": "0.12"},
        "config": dataclasses.asdict(config)
        | {"network": {"hidden": [16], "initial_log_std": -0.5}},
    }


@pytest.mark.parametrize("config", [replaced(CONFIG, {"alpha": 10.0})])
def test_the_exported_primitive_has_the_alpha_of_the_run(folder):
    policy = ndp_jax.load_policy(train.rl.export.export(folder))
    assert policy.policy.head.dmp.alpha == 10


@pytest.mark.parametrize("config", [CONFIG])
def test_a_place_that_cannot_be_written_is_refused(folder):
    path = folder / "missing" / "policy.msgpack"
    with pytest.raises(UserError, match=r"Cannot write the policy to .*; choose another --out."):
        train.rl.export.export(folder, path)
    assert train.rl.export.export(folder, folder / "mine").is_file()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        train.rl.export.export(tmp_path)
