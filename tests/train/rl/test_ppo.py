"""The learner's parts against recorded numbers, and the properties an update must have."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probes import Probe, RewardFromBoth

from configs import PPO, Network, Primitive, TrainConfig
from ndp_jax.policies import PolicyOutput
from train.rl import ppo
from train.rl.agent import hyperparameters
from train.rl.losses import Batch, generalized_advantage, loss, per_decision, standardize
from train.rl.ppo import ADAM, apply_gradients, make_learner, row

REFERENCE = np.load(Path(__file__).parents[2] / "data" / "ppo.npz")
CASES = json.loads(str(REFERENCE["meta"]))
POLICIES = ("ndp", "ppo-multi", "ppo")
TRAJECTORIES = ("ndp", "ppo-multi")


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def case_arrays(name):
    return {
        key.removeprefix(f"{name}/"): jnp.asarray(REFERENCE[key])
        for key in REFERENCE.files
        if key.startswith(f"{name}/")
    }


@pytest.mark.parametrize("case", CASES["gae"], ids=lambda case: case["case"])
def test_advantage_equals_the_reference(x64, case):
    data = {name: array[..., 0] for name, array in case_arrays(case["case"]).items()}
    value = data["value_preds"][: len(data["rewards"])]
    truncated = data["bad_masks"][1:] == 0
    advantage = generalized_advantage(
        data["rewards"],
        value,
        data["next_value"],
        terminated=(data["masks"][1:] == 0) & ~truncated,
        truncated=truncated,
        gamma=case["gamma"],
        gae_lambda=case["lam"],
    )
    np.testing.assert_allclose(advantage + value, data["returns_gae_proper"][:-1], rtol=1e-6)


def two_layer_network(params, observation):
    """The reference's network: (queries, 1 step, actions) means and (queries, 1) values."""

    def dense(name, x):
        return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]

    def body(name):
        return jnp.tanh(dense(f"{name}.2", jnp.tanh(dense(f"{name}.0", observation))))

    mean = dense("dist.fc_mean", body("base.actor"))[:, None]
    return PolicyOutput(
        mean=mean,
        decision=mean,
        log_std=params["dist.logstd._bias"][:, 0],
        value=dense("base.critic_linear", body("base.critic")),
    )


@pytest.mark.parametrize("case", CASES["ppo"], ids=lambda case: case["case"])
def test_update_equals_the_reference(x64, case):
    data = case_arrays(case["case"])
    params, gradients, stepped = (
        {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
        for prefix in ("param0/", "grad/", "param1/")
    )
    flat = {k: v.reshape(-1, v.shape[-1]) for k, v in data.items() if v.ndim == 3}
    size = len(flat["actions"])
    value = flat["value_preds"][:size]
    target = flat["returns"][:size]
    batch = Batch(
        inputs=None,
        decision=flat["actions"][:, None],
        log_prob=flat["old_log_probs"],
        value=value,
        advantage=standardize(target - value, jnp.ones_like(value), min_std=0.0),
        target=target,
        mask=jnp.ones_like(value),
    )
    np.testing.assert_allclose(batch.advantage, flat["adv_normalized"], rtol=1e-6, atol=1e-9)

    hyper = dataclasses.replace(
        hyperparameters(TrainConfig(task="push")),
        clip=jnp.asarray(case["clip"]),
        entropy_coefficient=jnp.asarray(case["entropy_coef"]),
        value_coefficient=jnp.asarray(case["value_loss_coef"]),
    )

    @jax.jit
    def step(params):
        def objective(params):
            return loss(two_layer_network(params, flat["obs"][:size]), batch, hyper)

        (_, parts), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        moved, _, norm = apply_gradients(
            params,
            ADAM.init(params),
            gradient,
            learning_rate=jnp.asarray(case["lr"]),
            max_grad_norm=jnp.asarray(case["max_grad_norm"]),
        )
        return parts, gradient, moved, norm

    parts, gradient, moved, norm = step(params)
    for ours, theirs in (
        ("value_loss", "value_loss"),
        ("policy_loss", "action_loss"),
        ("entropy", "entropy"),
    ):
        np.testing.assert_allclose(parts[ours], data[theirs], rtol=1e-6, err_msg=ours)
    np.testing.assert_allclose(norm, case["grad_norm"], rtol=1e-6)
    for name in params:
        tolerance = {"rtol": 1e-6, "atol": 1e-9, "err_msg": name}
        np.testing.assert_allclose(moved[name], stepped[name], **tolerance)
        np.testing.assert_allclose(gradient[name], gradients[name], **tolerance)


def tiny(policy, **changes):
    settings = {
        "num_envs": 8,
        "rollout_steps": 5,
        "steps": 400,
        "network": Network(hidden=(16,)),
        "ppo": PPO(minibatches=2, epochs=2),
    }
    return TrainConfig(task="probe", policy=policy, **(settings | changes))


def started(env, config):
    learner = make_learner(env, config)
    return learner, jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))


@functools.cache
def of_both(policy, explore="actions"):
    """A learner of `RewardFromBoth`, compiled once for all tests, and its first state."""
    learner, state = started(RewardFromBoth(), tiny(policy, explore=explore))
    update, collect = jax.jit(learner.update), jax.jit(learner.collect)
    return learner._replace(update=update, collect=collect), state


@pytest.mark.parametrize(
    ("policy", "explore"),
    [
        ("ndp", "actions"),
        pytest.param("ppo-multi", "actions", marks=pytest.mark.slow),
        ("ppo", "actions"),
        *((policy, "trajectory") for policy in TRAJECTORIES),
    ],
)
def test_the_first_ratio_is_one_and_updates_compile_once(policy, explore):
    learner, state = of_both(policy, explore)
    for _ in range(3):
        state, metrics = learner.update(state)
        assert metrics["first_ratio_error"] < 1e-5
    assert metrics["kl"] > 0
    assert learner.update._cache_size() == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_every_step_has_its_own_noise_and_value_head(policy):
    learner, state = of_both(policy)
    for _ in range(2):
        state, _ = learner.update(state)
    _, batch = learner.collect(state)
    chunk = 1 if policy == "ppo" else 5
    assert batch.decision.shape == (8 * 5 // chunk, chunk, 1)
    assert np.unique(batch.decision).size == batch.decision.size
    assert np.unique(batch.log_prob).size == batch.log_prob.size
    if chunk > 1:
        assert np.all(np.std(batch.value, axis=1) > 0)


@pytest.mark.parametrize("policy", TRAJECTORIES)
def test_a_trajectory_has_one_noise_and_one_value(policy):
    learner, state = of_both(policy, "trajectory")
    _, batch = learner.collect(state)
    size = 1 * (1 + 6) if policy == "ndp" else 5 * 1
    assert batch.decision.shape == (8, 1, size)
    for part in (batch.log_prob, batch.value, batch.advantage, batch.mask):
        assert part.shape == (8, 1)


def test_a_decision_earns_the_discounted_rewards_of_its_steps():
    reward = jnp.arange(6.0)[:, None] + jnp.array([0.0, 10.0])
    valid = jnp.array([[True] * 6, [True, True, True, True, True, False]]).T
    ends = jnp.zeros_like(valid).at[4, 0].set(True)
    sums, whole, ended = per_decision(reward, valid, ends, steps=3, gamma=0.5)
    np.testing.assert_allclose(sums, [[1.0, 18.5 - 0.0], [6.25, 23.75]])
    np.testing.assert_array_equal(whole, [[True, True], [True, False]])
    np.testing.assert_array_equal(ended, [[False, False], [True, False]])


def test_the_first_update_only_gathers_statistics():
    learner, before = of_both("ndp")
    after, _ = learner.update(before)
    assert optax.tree.norm(optax.tree.sub(after.params, before.params)) == 0
    assert after.obs_stats.count > 1
    later, _ = learner.update(after)
    assert optax.tree.norm(optax.tree.sub(later.params, after.params)) > 0


def test_the_policy_is_queried_on_the_reset_observation():
    learner, state = of_both("ndp")
    _, batch = learner.collect(state)
    np.testing.assert_array_equal(batch.inputs.observation, state.episodes.state.obs)


def test_an_episode_may_span_updates():
    class Counter(Probe):
        """Observes the time, so that a reset shows."""

        length = 10
        terminates = False

        def observe(self, drawn, step):
            return step

        def reward(self, drawn, step, action):
            return jnp.ones(())

    learner, state = started(Counter(), tiny("ndp", rollout_steps=5))
    collect = jax.jit(learner.collect)
    seen, returns = [], []
    for _ in range(3):
        state, batch = collect(state)
        seen.append(float(batch.inputs.observation[0, 0]))
        returns.append(float(state.finished["returns"]))
    assert seen == [0, 5, 0]
    assert returns == [0, 10, 10]
    assert np.isnan(row(state.finished, ended=False)["returns"])
    assert row(state.finished, ended=True)["returns"] == 10


class Fragile(RewardFromBoth):
    """Something becomes NaN in the third step of environments that drew -1."""

    length = 10
    terminates = False

    def __init__(self, what):
        self.what = what

    def step(self, state, action):
        after = super().step(state, action)
        breaks = (state.info["drawn"] < 0) & (state.info["step"] == 2)
        poison = jnp.where(breaks, jnp.nan, 0.0)
        metrics = after.metrics | {"success": jnp.ones(())}
        if self.what == "state":  # as MjxEnv tells
            nan = breaks.astype(jnp.float32)
            return after.replace(done=nan, metrics=metrics | {"nan": nan})
        poisoned = {self.what: getattr(after, self.what) + poison}
        return after.replace(metrics=metrics, **poisoned)


@pytest.mark.parametrize("what", ["state", pytest.param("reward", marks=pytest.mark.slow), "obs"])
def test_a_broken_environment_is_counted_and_left_out(what):
    learner, state = started(Fragile(what), tiny("ndp", rollout_steps=10))
    broken = state.episodes.state.obs[:, 0] < 0
    assert 0 < broken.sum() < 8
    collected, batch = jax.jit(learner.collect)(state)
    mask = batch.mask.reshape(2, 8, 5).swapaxes(1, 2).reshape(10, 8)
    np.testing.assert_array_equal(mask[:2], 1)
    np.testing.assert_array_equal(mask[2:].all(axis=0), ~broken)
    np.testing.assert_array_equal(mask[2:].any(axis=0), ~broken)
    assert collected.faults.broken_episodes == jnp.sum(broken)
    assert collected.finished["success"] == jnp.mean(~broken)
    update = jax.jit(learner.update)
    for _ in range(3):
        before, (state, metrics) = state, update(state)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.params))
    assert optax.tree.norm(optax.tree.sub(state.params, before.params)) > 0
    assert metrics["broken_episodes"] > jnp.sum(broken)
    assert metrics["skipped_minibatches"] == 0


@pytest.mark.parametrize("what", [pytest.param("reward", marks=pytest.mark.slow), "obs"])
def test_where_jax_stops_at_nan_it_stops_at_that_of_an_environment(what):
    learner, state = started(Fragile(what), tiny("ndp", rollout_steps=10))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        jax.jit(learner.update)(state)


def test_where_jax_stops_at_nan_a_sound_learner_goes_on():
    with jax.debug_nans(True):
        learner, state = started(RewardFromBoth(), tiny("ndp"))
        update = jax.jit(learner.update)
        for _ in range(2):
            state, _ = update(state)
    assert state.updates == 2


def test_a_non_finite_gradient_skips_its_minibatch_and_no_other(monkeypatch):
    class Drawn(RewardFromBoth):
        def draw(self, key):
            return jax.random.uniform(key, (), minval=-1)

    def poisoned(output, batch, hyper):
        total, parts = loss(output, batch, hyper)
        bad = jnp.any(batch.inputs.observation > 0.5)
        return total * jnp.where(bad, jnp.nan, 1.0), parts

    monkeypatch.setattr(ppo, "loss", poisoned)
    config = tiny("ndp", ppo=PPO(minibatches=8, epochs=2, max_kl=1e6))
    learner, state = started(Drawn(), config)
    update = jax.jit(learner.update)
    state, _ = update(state)
    _, batch = jax.jit(learner.collect)(state)
    bad = int(jnp.sum(batch.inputs.observation > 0.5))
    assert 0 < bad < 8
    after, metrics = update(state)
    assert metrics["skipped_minibatches"] == after.faults.skipped_minibatches == 2 * bad
    assert after.faults.skipped_in_a_row < 2 * bad
    assert after.optimizer.count == 2 * (8 - bad)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((after.params, metrics)))
    assert optax.tree.norm(optax.tree.sub(after.params, state.params)) > 0


def test_same_seed_same_numbers_and_other_seed_other_resets():
    learner, _ = of_both("ndp")
    init, runs = jax.jit(learner.init), []
    for seed in (0, 0, 1):
        state = init(jax.random.key(seed), hyperparameters(tiny("ndp")))
        for _ in range(3):
            state, metrics = learner.update(state)
        runs.append(jax.device_get(metrics))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_inputs_reach_the_loss_unchanged():
    """The loss sees raw inputs and normalises them with the statistics that collection used."""
    sensitive = tiny("ndp", primitive=Primitive(goal_scale=10.0))
    learner, state = started(RewardFromBoth(), sensitive)
    _, batch = jax.jit(learner.collect)(state)
    _, parts = learner.loss(state.params, state.obs_stats, batch, state.hyper)
    assert parts["ratio_error"] < 1e-5
    other = state.obs_stats.replace(mean=state.obs_stats.mean + 1.0)
    _, parts = learner.loss(state.params, other, batch, state.hyper)
    assert parts["ratio_error"] > 1e-3
