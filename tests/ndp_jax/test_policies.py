from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ndp_jax import DMP, rollout
from ndp_jax.distributions import log_prob, sample
from ndp_jax.policies import (
    ActorCritic,
    ClosedForm,
    DirectHead,
    Euler,
    PrimitiveHead,
    TrajectoryNoise,
)

CHUNK, SUBSTEPS, DIMS, OBSERVED = 5, 8, 3, 9


def primitive_head(**changes):
    settings = {
        "dmp": DMP(n_basis=6, n_steps=CHUNK * SUBSTEPS, alpha=5.0),
        "chunk": CHUNK,
        "action_size": DIMS,
        "duration": 0.25,
        "action_scale": 0.01,
        "goal_scale": 0.05,
        "weight_scale": 50.0,
    }
    return PrimitiveHead(**(settings | changes))


UNSCALED = DMP(n_basis=6, n_steps=CHUNK * SUBSTEPS, alpha=5.0, forcing="unscaled")

HEADS = {
    "ndp": primitive_head(),
    "ndp with gripper": primitive_head(action_size=DIMS + 1),
    "ndp, only goals": primitive_head(dmp=DMP(n_basis=0, n_steps=CHUNK * SUBSTEPS, alpha=5.0)),
    "prodmp": primitive_head(dmp=UNSCALED, solver=ClosedForm()),
    "ppo-multi": DirectHead(chunk=CHUNK, action_size=DIMS),
    "ppo-multi, held": DirectHead(chunk=CHUNK, action_size=DIMS, correlation=0.9),
    "ppo": DirectHead(chunk=1, action_size=DIMS),
}


def inputs(batch, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return (
        jax.random.normal(keys[0], (*batch, OBSERVED)),
        jax.random.normal(keys[1], (*batch, DIMS)),
        0.1 * jax.random.normal(keys[2], (*batch, DIMS)),
    )


def initialised(head, batch=(4,), **options):
    policy = ActorCritic(head=head, hidden=(16, 16), **options)
    return policy, policy.init(jax.random.key(1), *inputs(batch))


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("name", HEADS)
def test_shapes(name, batch):
    head = HEADS[name]
    policy, params = initialised(head)
    output = policy.apply(params, *inputs(batch))
    assert output.mean.shape == (*batch, head.chunk, head.action_size)
    assert output.log_std.shape == (head.action_size,)
    assert output.value.shape == (*batch, head.chunk)


@pytest.mark.parametrize("name", HEADS)
def test_first_actions_lie_inside_the_box(name):
    policy, params = initialised(HEADS[name])
    observation, position, _ = inputs((64,))
    output = policy.apply(params, observation, position, jnp.zeros((64, DIMS)))
    assert jnp.max(jnp.abs(output.mean)) < 0.5
    assert jnp.std(output.mean) > 0


def test_only_the_head_differs():
    """Same actor, critic, noise and value heads, whatever the head."""

    def trunk(name):
        params = initialised(HEADS[name])[1]["params"]
        return jax.tree.map(jnp.shape, {k: v for k, v in params.items() if k != "head"})

    assert trunk("ndp") == trunk("ppo-multi")
    assert trunk("ndp")["actor"] == trunk("ppo")["actor"]


@pytest.mark.parametrize(("forcing", "unit"), [("scaled", 50.0), ("unscaled", 50.0 * 0.05)])
def test_actions_retrace_the_primitive(forcing, unit):
    head = primitive_head(dmp=replace(primitive_head().dmp, forcing=forcing))
    policy, params = initialised(head)
    params = jax.tree.map(lambda x: 3 * x + 0.1, params)
    observation, position, velocity = inputs((4,))
    features = {}

    def keep(next_fun, args, kwargs, context):
        out = next_fun(*args, **kwargs)
        if context.module.name in ("goal", "weights"):
            features[context.module.name] = out
        return out

    import flax.linen as nn

    with nn.intercept_methods(keep):
        mean = policy.apply(params, observation, position, velocity).mean
    path = rollout(
        head.dmp,
        position + 0.05 * features["goal"],
        unit * features["weights"].reshape(4, DIMS, 6),
        position,
        velocity * 0.25,
        method="scan",
    ).position
    reached = position + 0.01 * jnp.sum(mean, axis=1)
    np.testing.assert_allclose(reached, path[:, -1], atol=1e-5)
    second = position + 0.01 * jnp.sum(mean[:, :2], axis=1)
    np.testing.assert_allclose(second, path[:, 2 * SUBSTEPS], atol=1e-5)


def test_the_closed_form_is_what_ever_finer_euler_steps_tend_to():
    """With the parameters of the network, from a moving robot."""
    params = initialised(HEADS["prodmp"])[1]
    params = jax.tree.map(lambda x: 3 * x + 0.1, params)

    def means(head):
        return ActorCritic(head=head, hidden=(16, 16)).apply(params, *inputs((4,))).mean

    exact = means(HEADS["prodmp"])
    coarse, fine = (
        means(primitive_head(dmp=replace(UNSCALED, n_steps=CHUNK * steps), solver=Euler()))
        for steps in (SUBSTEPS, 50 * SUBSTEPS)
    )
    assert 1e-2 < jnp.max(jnp.abs(coarse - exact)) < 1
    np.testing.assert_allclose(fine, exact, atol=0.02 * float(jnp.max(jnp.abs(exact))))


@pytest.mark.parametrize("name", ["ndp", "prodmp", "ppo-multi"])
def test_a_movement_explored_as_a_whole_is_one_decision(name):
    policy = ActorCritic(head=HEADS[name], hidden=(16, 16), exploration=TrajectoryNoise())
    seen = inputs((4,))
    params = policy.init(jax.random.key(1), *seen)
    output = policy.apply(params, *seen)
    assert output.decision.shape == (4, 1, output.log_std.size)
    actions = policy.actions(output.decision, *seen[1:])
    np.testing.assert_allclose(actions, output.mean, atol=1e-5)
    other = policy.actions(output.decision + 0.1, *seen[1:])
    assert jnp.max(jnp.abs(other - actions)) > 1e-2


def test_the_primitive_has_the_alpha_that_is_used_where_it_is_known():
    for alpha in (7, 7.0, jnp.asarray(7.0)):
        assert primitive_head(alpha=alpha).dmp == replace(primitive_head().dmp, alpha=7)
    assert primitive_head().dmp.alpha == 5

    def reached(alpha):
        policy, params = initialised(primitive_head(alpha=alpha))
        return jnp.sum(policy.apply(params, *inputs((4,))).mean, axis=1)

    traced = jax.jit(jax.vmap(reached))(jnp.array([7.0, 9.0]))
    np.testing.assert_allclose(traced, [reached(7.0), reached(9.0)], atol=1e-5)
    assert not np.allclose(traced[0], traced[1], atol=1e-3)


def test_a_moving_robot_keeps_moving():
    """dy0 is the robot's own velocity: the first action continues it."""
    policy, params = initialised(primitive_head())
    observation, position, _ = inputs((1,))
    still, moving = (
        policy.apply(params, observation, position, jnp.full((1, DIMS), speed)).mean[0, 0]
        for speed in (0.0, 0.1)
    )
    one_step = 0.1 * 0.25 / CHUNK / 0.01
    assert jnp.all(moving - still > 0.5 * one_step)
    assert jnp.all(moving - still < one_step)


def test_moving_the_robot_moves_no_action():
    """Goals are relative: where the robot stands does not matter, only what it observes."""
    policy, params = initialised(primitive_head())
    observation, position, velocity = inputs((4,))
    here = policy.apply(params, observation, position, velocity).mean
    there = policy.apply(params, observation, position + 0.3, velocity).mean
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_gradients_reach_goal_and_weights():
    policy, params = initialised(primitive_head(goal_scale=1.0))

    def objective(params):
        return jnp.sum(policy.apply(params, *inputs((4,))).mean ** 2)

    gradient = jax.grad(objective)(params)["params"]["head"]
    assert all(jnp.linalg.norm(gradient[name]["kernel"]) > 0 for name in ("goal", "weights"))


def test_the_plan_is_the_movement_that_the_actions_make():
    head = primitive_head()
    policy, params = initialised(head)
    assert set(params) == {"params"}
    observation, position, velocity = inputs((2, 3))
    output, sown = policy.apply(params, observation, position, velocity, mutable=["intermediates"])
    (plan,) = sown["intermediates"]["head"]["plan"]
    assert plan.path.shape == (2, 3, CHUNK * SUBSTEPS + 1, DIMS)
    np.testing.assert_array_equal(plan.path[..., 0, :], position)
    moves = jnp.diff(plan.path[..., ::SUBSTEPS, :], axis=-2)
    np.testing.assert_allclose(moves / head.action_scale, output.mean, atol=1e-4)
    offset = (plan.goal - position) / head.goal_scale
    assert 0 < jnp.max(jnp.abs(offset)) < 0.5
    unchanged = policy.apply(params, observation, position, velocity)
    np.testing.assert_array_equal(unchanged.mean, output.mean)


def test_without_basis_functions_the_primitive_only_pulls_to_its_goal():
    policy, params = initialised(HEADS["ndp, only goals"])
    assert set(params["params"]["head"]) == {"goal"}
    observation, position, velocity = inputs((4,))
    whole, others = initialised(HEADS["ndp"])
    weightless = jax.tree.map(jnp.zeros_like, others["params"]["head"]) | params["params"]["head"]
    np.testing.assert_allclose(
        policy.apply(params, observation, position, velocity).mean,
        whole.apply(
            {"params": params["params"] | {"head": weightless}}, observation, position, velocity
        ).mean,
        atol=1e-5,
    )


# Exploration


def decided(name, batch=(), draws=()):
    """A policy that explores trajectories, its answer, decisions and the actions they lead to."""
    policy, params = initialised(HEADS[name], exploration=TrajectoryNoise())
    observation, position, velocity = inputs(batch)
    output = policy.apply(params, observation, position, velocity)
    mean = jnp.broadcast_to(output.decision, (*draws, *output.decision.shape))
    decision = sample(jax.random.key(2), mean, output.log_std)
    robot = (jnp.broadcast_to(x, (*draws, *x.shape)) for x in (position, velocity))
    return output, decision, policy.actions(decision, *robot)


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("name", HEADS)
def test_a_trajectory_is_one_decision(name, batch):
    head = HEADS[name]
    output, decision, action = decided(name, batch)
    assert output.decision.shape == decision.shape == (*batch, 1, *output.log_std.shape)
    assert output.value.shape == (*batch, 1)
    assert output.mean.shape == action.shape == (*batch, head.chunk, head.action_size)


@pytest.mark.parametrize("name", HEADS)
def test_the_mean_decision_leads_to_the_action_means(name):
    policy, params = initialised(HEADS[name], exploration=TrajectoryNoise())
    observation, position, velocity = inputs((4,))
    output = policy.apply(params, observation, position, velocity)
    actions = policy.actions(output.decision, position, velocity)
    np.testing.assert_allclose(actions, output.mean, atol=1e-5)


def test_a_goal_pulls_all_actions_its_way():
    """Noise on the goal is one number for a joint's T actions."""
    output, _, action = decided("ndp, only goals", draws=(1000,))
    noise = (action - output.mean[None])[..., 0]
    assert jnp.all(jnp.corrcoef(noise.T) > 0.999)
    reached = 0.05 / 0.01 * (1 - (1 + 2.5) * np.exp(-2.5)) * np.exp(-0.5)
    np.testing.assert_allclose(jnp.std(jnp.sum(noise, axis=1)), reached, rtol=0.1)


def test_held_noise_is_of_the_same_size_in_every_action():
    output, _, action = decided("ppo-multi, held", draws=(4000,))
    noise = (action - output.mean[None])[..., 0]
    np.testing.assert_allclose(jnp.std(noise, axis=0), np.exp(-0.5), rtol=0.05)
    apart = jnp.corrcoef(noise.T)[~np.eye(CHUNK, dtype=bool)]
    np.testing.assert_allclose(apart, 0.9, atol=0.02)


def test_the_density_of_held_noise_is_that_of_its_covariance():
    """Up to the constant volume of the change of variables, which no ratio sees."""
    output, decision, action = decided("ppo-multi, held", draws=(5,))
    covariance = np.exp(-1.0) * (0.1 * np.eye(CHUNK) + 0.9)
    noise = np.asarray(action - output.mean[None], float)
    square = np.einsum("nta,ts,nsa->n", noise, np.linalg.inv(covariance), noise)
    volume = np.linalg.slogdet(2 * np.pi * covariance)[1]
    of_actions = -square / 2 - DIMS * volume / 2
    mean = jnp.broadcast_to(output.decision, decision.shape)
    ours = log_prob(mean, output.log_std, decision)[:, 0]
    np.testing.assert_allclose(ours - of_actions, (ours - of_actions)[0], atol=1e-3)
