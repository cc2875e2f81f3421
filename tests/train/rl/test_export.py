import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import CONFIG
from sketch import Sketch

import ndp_jax
import train.rl.export
import train.rl.train
from configs.fields import replaced
from ndp_jax import normalize
from train.rl.agent import Inputs, hyperparameters, make_inference_fn, make_policy
from train.rl.ppo import make_learner
from train.runs import checkpoint, run
from train.system.errors import UserError


class Gripping(Sketch):
    """A hand that the primitive moves, and a gripper that it does not."""

    action_size = 4
    action_limit = 5.0


ENV = Gripping(action_scale=0.05)


@pytest.fixture(
    scope="module",
    params=[
        *({"policy": name} for name in ("ndp", "prodmp", "ppo-multi", "ppo")),
        {"policy": "ndp", "explore": "trajectory", "n_basis": 0},
        {"policy": "ppo-multi", "explore": "trajectory"},
    ],
)
def config(request):
    return replaced(CONFIG, {"task": "push"} | request.param)


@pytest.fixture(scope="module")
def state(config):
    """As if it had learned."""
    state = jax.jit(make_learner(ENV, config).init)(jax.random.key(0), hyperparameters(config))
    noise = jax.random.key(1)
    return state.replace(
        params=jax.tree.map(lambda x: x + jax.random.normal(noise, x.shape), state.params),
        obs_stats=normalize.update(state.obs_stats, jax.random.normal(noise, (20, 9))),
        hyper=state.hyper.replace(goal_scale=jnp.asarray(0.07)),
    )


@pytest.fixture
def folder(tmp_path, config, state, monkeypatch):
    """Of a run with two checkpoints, the earlier of which has learned nothing."""
    monkeypatch.setattr(train.rl.train, "make_env", lambda config: ENV)
    run.save_config(tmp_path, config, {"jax": "0.12"})
    nothing = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, nothing, config=config, steps=40)
        checkpoint.save(manager, state, config=config, steps=80)
    return tmp_path


def test_an_exported_policy_is_the_learners(folder, config, state):
    path = train.rl.export.export(folder)
    assert path == folder / "policy.msgpack"
    policy = ndp_jax.load_policy(path)

    seen = jax.random.normal(jax.random.key(2), (6, 15))
    inputs = Inputs(*jnp.split(seen, (9, 12), axis=1))
    learner = make_policy(ENV, config, state.hyper)
    expected = make_inference_fn(learner, state.params, state.obs_stats)(inputs).mean
    assert jnp.std(expected) > 0.1
    actions = policy(inputs.observation, inputs.velocity)
    np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-4)

    assert policy.about == {
        "task": "push",
        "dt": 0.05,
        "action_scale": 0.05,
        "action_limit": 5.0,
        "versions": {"jax": "0.12"},
        "config": json.loads(json.dumps(dataclasses.asdict(config))),  # lists, no tuples
    }


@pytest.mark.parametrize("config", [{"alpha": 10.0}], indirect=True)
def test_the_exported_primitive_has_the_alpha_of_the_run(folder):
    policy = ndp_jax.load_policy(train.rl.export.export(folder))
    assert policy.policy.head.dmp.alpha == 10


@pytest.mark.parametrize("config", [{"policy": "ndp"}], indirect=True)
def test_a_place_that_cannot_be_written_is_refused(folder):
    path = folder / "missing" / "policy.msgpack"
    with pytest.raises(UserError, match=r"Cannot write the policy to .*; choose another --out."):
        train.rl.export.export(folder, path)
    assert train.rl.export.export(folder, folder / "mine").is_file()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        train.rl.export.export(tmp_path)
