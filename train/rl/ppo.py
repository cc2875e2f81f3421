"""Proximal policy optimisation over chunks of T actions.

One update (collect, estimate advantages, improve) is one pure function over one pytree. Each of the
T steps after a query is a decision of its own, with its own log density, advantage and value, all
conditioned on the query's inputs; the T steps of a query stay together in a minibatch, so that the
network and the primitive run once per query.

Sources: Schulman et al., "Proximal Policy Optimization Algorithms", 2017; Bahl et al., NeurIPS
2020, section 3.3.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped

from configs import TrainConfig
from envs.base import debugging
from ndp_jax import normalize
from train.rl import rollout
from train.rl.agent import (
    Answer,
    Hyperparameters,
    RobotEnv,
    make_act,
    make_explore,
    make_inference_fn,
    make_policy,
    observe,
)
from train.rl.losses import Batch, generalized_advantage, loss, per_decision, standardize
from train.system.devices import replicate, spread

ADAM = optax.scale_by_adam(eps=1e-5)
LOSS_PARTS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction", "gradient_norm")
OUTCOMES = ("success", "returns", "distance")


class Faults(struct.PyTreeNode):
    """Counts of what was left out because it was not finite.

    Attributes:
      broken_episodes: finished episodes that a non-finite value had ended early.
      skipped_minibatches: of the whole run.
      skipped_in_a_row: up to the last minibatch.
    """

    broken_episodes: Int[Array, ""]
    skipped_minibatches: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]


class TrainState(struct.PyTreeNode):
    """Everything the next update needs: saving it is a checkpoint, stacking it is a sweep.

    Attributes:
      params: of the policy.
      optimizer: Adam's moments.
      obs_stats: running statistics of the observations.
      reward: running scale of the rewards.
      episodes: where the environments stand.
      finished: rates and means over the episodes that the last update finished any of, by those of
        `OUTCOMES` that the task knows, 0 before; and where they end early, how many have ended so
        far, as `episodes`.
      faults: what was left out because it was not finite.
      key: of the next update.
      updates: done so far.
      hyper: the swept numbers.
    """

    params: PyTree
    optimizer: optax.OptState
    obs_stats: normalize.RunningStats
    reward: normalize.RewardScale
    episodes: rollout.Episodes
    finished: dict[str, Float[Array, ""]]
    faults: Faults
    key: PRNGKeyArray
    updates: Int[Array, ""]
    hyper: Hyperparameters


def in_order(x: Shaped[Array, "Q E K"]) -> Shaped[Array, "N E"]:
    """What belongs to K steps or decisions of each of Q queries, one after another."""
    return x.swapaxes(1, 2).reshape(-1, x.shape[1])


def by_query(x: Shaped[Array, "N E"], queries: int) -> Shaped[Array, "Q E K"]:
    """The inverse of `in_order`."""
    return x.reshape(queries, -1, x.shape[1]).swapaxes(1, 2)


def scale_rewards(
    scale: normalize.RewardScale,
    reward: Float[Array, "S E"],
    ends: Bool[Array, "S E"],
    *,
    valid: Bool[Array, "S E"] | None,
    before: normalize.RewardScale,
    discount: float | Float[Array, ""],
) -> tuple[normalize.RewardScale, Float[Array, "S E"]]:
    """Divides rewards by the running deviation of their discounted returns.

    Args:
      scale: the statistics so far.
      reward: received in each step.
      ends: where the return starts anew after the step.
      valid: the steps that count; None for all.
      before: what is left of the statistics if a reward makes them non-finite.
      discount: of the returns, per step.

    Returns:
      The statistics afterwards, and the scaled rewards.
    """
    after, reward = jax.lax.scan(
        lambda scale, x: normalize.scale_reward(scale, *x[:2], valid=x[2], discount=discount),
        scale,
        (reward, ends, valid),
    )
    sound = finite(after)
    return jax.tree.map(partial(jnp.where, sound), after, before), reward


def known(episodes: rollout.Episodes) -> dict[str, Float[Array, " E"]]:
    """Those of `OUTCOMES` that the task knows."""
    return {name: x for name in OUTCOMES if (x := getattr(episodes, name)) is not None}


def count_finished(state: TrainState, *, over: Bool[Array, ""]) -> TrainState:
    """How the episodes went, if they, all of one length, are over."""
    episodes = state.episodes
    finished = {
        name: jnp.where(over, jnp.mean(each), state.finished[name])
        for name, each in known(episodes).items()
    }
    broken = jnp.where(over, jnp.sum(episodes.broken, dtype=jnp.int32), 0)
    faults = state.faults.replace(broken_episodes=state.faults.broken_episodes + broken)
    return state.replace(finished=finished, faults=faults)


class End(struct.PyTreeNode):
    """Where episodes that end early stand after the steps of a query.

    Attributes:
      value: that the first head sees in their last state, (E,).
      over: where they are, (E,).
      broken: true where a non-finite value ended them, (E,).
      outcome: what `known` says.
    """

    value: Float[Array, "*Q E"]
    over: Bool[Array, "*Q E"]
    broken: Bool[Array, "*Q E"]
    outcome: dict[str, Float[Array, "*Q E"]]


def count_ends(state: TrainState, ends: End) -> TrainState:
    """How those episodes went that have ended, each at its own query."""
    count = jnp.sum(ends.over, dtype=jnp.int32)
    finished = {
        name: jnp.where(
            count > 0,
            jnp.sum(jnp.where(ends.over, each, 0.0)) / jnp.maximum(count, 1),
            state.finished[name],
        )
        for name, each in ends.outcome.items()
    }
    finished["episodes"] = state.finished["episodes"] + count
    broken = jnp.sum(ends.over & ends.broken, dtype=jnp.int32)
    faults = state.faults.replace(broken_episodes=state.faults.broken_episodes + broken)
    return state.replace(finished=finished, faults=faults)


def apply_gradients(
    params: PyTree,
    optimizer: optax.OptState,
    gradient: PyTree,
    *,
    learning_rate: Float[Array, ""],
    max_grad_norm: Float[Array, ""],
) -> tuple[PyTree, optax.OptState, Float[Array, ""]]:
    """One Adam step on the norm-clipped gradient.

    Returns:
      Parameters, optimiser state and the gradient's norm before clipping.
    """
    norm = optax.tree.norm(gradient)
    scale = jnp.minimum(1.0, max_grad_norm / (norm + 1e-6))
    direction, moments = ADAM.update(jax.tree.map(lambda g: g * scale, gradient), optimizer)
    moved = jax.tree.map(lambda p, d: p - learning_rate * d, params, direction)
    return moved, moments, norm


def finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number is; whatever they are where JAX is to stop at those that are not."""
    if debugging():
        return jnp.ones((), bool)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def skipped(faults: Faults, sound: Bool[Array, ""]) -> Faults:
    """Counts a minibatch that changed nothing unless it was `sound`."""
    return faults.replace(
        skipped_minibatches=faults.skipped_minibatches + ~sound,
        skipped_in_a_row=jnp.where(sound, 0, faults.skipped_in_a_row + 1),
    )


def sound_mean(parts: dict[str, Float[Array, "*minibatches"]], name: str) -> Float[Array, ""]:
    """Mean of a part of the loss over the minibatches that were learned from; NaN if none was."""
    sound = parts["sound"]
    return jnp.sum(jnp.where(sound, parts[name], 0.0)) / jnp.sum(sound)


def row(numbers: dict[str, Any], *, ended: bool) -> dict[str, float]:
    """Metrics on the host as a row; `OUTCOMES` are NaN there as long as no episode has ended.

    Args:
      numbers: by name.
      ended: whether one has, where they are of one length; others are counted in `numbers`.
    """
    if "episodes" in numbers:
        ended = numbers["episodes"].item() > 0
    return {
        name: value.item() if ended or name not in OUTCOMES else math.nan
        for name, value in numbers.items()
    }


def nothing_finished(env: RobotEnv, episodes: rollout.Episodes) -> dict[str, Array]:
    """Before any episode is over."""
    count = {"episodes": jnp.zeros((), jnp.int32)} if env.ends_early else {}
    return {name: jnp.zeros(()) for name in known(episodes)} | count


class Learner(NamedTuple):
    """Pure functions; jit, vmap and shard them as you like.

    Attributes:
      init: key and hyperparameters to the first `TrainState`.
      update: one iteration; the new state and scalar metrics.
      collect: the first half of `update`: the state after collection, and the batch.
      loss: parameters, observation statistics, minibatch and hyperparameters to loss and its parts.
    """

    init: Callable[[PRNGKeyArray, Hyperparameters], TrainState]
    update: Callable[[TrainState], tuple[TrainState, dict[str, Array]]]
    collect: Callable[[TrainState], tuple[TrainState, Batch]]
    loss: Callable


def place(state: TrainState, mesh: Mesh | None) -> TrainState:
    """Spreads the environments over the devices, and puts all else on each."""
    return replicate(state, mesh).replace(episodes=spread(state.episodes, mesh))


def make_learner(env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None) -> Learner:
    """Builds the learner of a configuration for an environment.

    Args:
      env: one environment with `robot_state`, `episode_length`, `dt` and `action_scale`.
      config: a configuration that passed `train.runs.checks.check`.
      mesh: the devices to spread the environments over; None for the program of one device.

    Returns:
      The functions of a `Learner`.
    """
    chunk = config.steps_per_query
    queries = config.rollout_steps // chunk

    def init(key: PRNGKeyArray, hyper: Hyperparameters) -> TrainState:
        params_key, reset_key, key = jax.random.split(key, 3)
        episodes = rollout.reset(env, reset_key, config.num_envs, mesh=mesh)
        inputs = observe(env, episodes.state)
        params = make_policy(env, config, hyper).init(
            params_key, inputs.observation.astype(float), inputs.position, inputs.velocity
        )
        state = TrainState(
            params=params,
            optimizer=ADAM.init(params),
            obs_stats=normalize.init(inputs.observation.shape[1:]),
            reward=normalize.init_reward_scale((config.num_envs,)),
            episodes=episodes,
            finished=nothing_finished(env, episodes),
            faults=Faults(*jnp.zeros((3,), jnp.int32)),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            hyper=hyper,
        )
        return place(state, mesh)

    def collect(state: TrainState) -> tuple[TrainState, Batch]:
        key, reset_key, noise_key = jax.random.split(state.key, 3)

        # Episodes of one length start anew together, others each at its own next query.
        episodes, returns, restarts = state.episodes, state.reward.returns, None
        if env.ends_early:
            restarts = jax.random.split(reset_key, queries)
        else:
            over = state.episodes.step >= env.episode_length
            episodes = jax.lax.cond(
                over,
                lambda: rollout.reset(env, reset_key, config.num_envs, mesh=mesh),
                lambda: state.episodes,
            )
            returns = jnp.where(over, 0.0, state.reward.returns)

        # Act, and ask the first value head what comes after the last step.
        policy = make_policy(env, config, state.hyper)
        inference_fn = make_inference_fn(policy, state.params, state.obs_stats)

        def worth(episodes: rollout.Episodes) -> Float[Array, " E"]:
            return inference_fn(observe(env, episodes.state)).value[:, 0]

        def end(episodes: rollout.Episodes) -> End:
            standing = {"over": ~episodes.alive, "broken": episodes.broken}
            return End(value=worth(episodes), **standing, outcome=known(episodes))

        act = make_act(env, inference_fn, make_explore(policy))
        keys = jax.random.split(noise_key, queries)
        more = {"restarts": restarts, "conclude": end} if env.ends_early else {}
        episodes, transitions, _ = rollout.collect(env, act, episodes, keys, **more, mesh=mesh)
        bootstrap = worth(episodes)
        transitions, bootstrap = replicate((transitions, bootstrap), mesh)

        # Rewards come step by step. To the last before a time limit belongs what would have come.
        answers: Answer = transitions.extras
        valid, terminated = in_order(transitions.valid), in_order(transitions.terminated)
        ended = terminated | in_order(transitions.truncated) if env.ends_early else terminated
        reward_scale, reward = scale_rewards(
            state.reward.replace(returns=returns),
            in_order(transitions.reward),
            ended | ~valid,
            valid=valid if env.ends_early else None,
            before=state.reward,
            discount=state.hyper.gamma,
        )
        if env.ends_early:
            rest = state.hyper.gamma * transitions.ends.value[..., None]
            reward += in_order(jnp.where(transitions.truncated, rest, 0.0))

        # Advantages are estimated decision by decision, whatever query it belongs to.
        steps, value = chunk // answers.value.shape[-1], in_order(answers.value)
        reward, valid, ended = per_decision(
            reward, valid, ended, steps=steps, gamma=state.hyper.gamma
        )
        advantage = generalized_advantage(
            reward,
            value,
            bootstrap,
            terminated=ended,
            truncated=~valid,
            gamma=state.hyper.gamma**steps,
            gae_lambda=state.hyper.gae_lambda**steps,
        )
        mask = valid.astype(reward.dtype)
        standard = standardize(advantage, mask, min_std=state.hyper.min_advantage_std)

        # The learner draws queries, whose decisions stay together.
        batch = Batch(
            inputs=answers.inputs,
            decision=answers.decision,
            log_prob=answers.log_prob,
            value=answers.value,
            advantage=by_query(standard, queries),
            target=by_query(advantage + value, queries),
            mask=by_query(mask, queries),
        )
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        state = state.replace(episodes=episodes, reward=reward_scale, key=key)
        if env.ends_early:
            return count_ends(state, transitions.ends), batch
        return count_finished(state, over=episodes.step >= env.episode_length), batch

    def batch_loss(params, obs_stats: normalize.RunningStats, batch: Batch, hyper):
        inference_fn = make_inference_fn(make_policy(env, config, hyper), params, obs_stats)
        return loss(inference_fn(batch.inputs), batch, hyper)

    def improve(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        hyper = state.hyper
        remaining = 1.0 - state.updates / hyper.total_updates
        learning_rate = hyper.learning_rate * jnp.maximum(remaining, 0.0)

        def minibatch_step(learned, minibatch: Batch):
            params, optimizer, faults = learned
            (total, parts), gradient = jax.value_and_grad(batch_loss, has_aux=True)(
                params, state.obs_stats, minibatch, hyper
            )
            *moved, norm = apply_gradients(
                params,
                optimizer,
                gradient,
                learning_rate=learning_rate,
                max_grad_norm=hyper.max_grad_norm,
            )
            sound = finite((total, norm, moved))
            params, optimizer = jax.tree.map(
                partial(jnp.where, sound), tuple(moved), (params, optimizer)
            )
            parts = parts | {"gradient_norm": norm, "sound": sound}
            return (params, optimizer, skipped(faults, sound)), parts

        def epoch(carry, key: PRNGKeyArray):
            learned, learning = carry
            order = jax.random.permutation(key, batch.mask.shape[0])
            order = order.reshape(config.ppo.minibatches, -1)
            minibatches = spread(jax.tree.map(lambda x: x[order], batch), mesh, axis=1)
            improved, parts = jax.lax.scan(minibatch_step, learned, minibatches)
            learned = jax.tree.map(partial(jnp.where, learning), improved, learned)
            return (learned, learning & ~(sound_mean(parts, "kl") > hyper.max_kl)), parts

        key, epochs_key = jax.random.split(state.key)
        (learned, _), parts = jax.lax.scan(
            epoch,
            ((state.params, state.optimizer, state.faults), state.updates > 0),
            jax.random.split(epochs_key, config.ppo.epochs),
        )
        params, optimizer, faults = learned
        metrics = {name: sound_mean(parts, name) for name in LOSS_PARTS}
        metrics["first_ratio_error"] = parts["ratio_error"][0, 0]
        return state.replace(params=params, optimizer=optimizer, faults=faults, key=key), metrics

    def update(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        """Collects, improves (from the second update on), then learns the observation statistics.

        The statistics move only here, so the policy that collected is exactly the one improved.
        """
        state, batch = collect(state)
        state, metrics = improve(state, batch)
        statistics = normalize.update(state.obs_stats, batch.inputs.observation)
        statistics = jax.tree.map(
            partial(jnp.where, finite(statistics)), statistics, state.obs_stats
        )
        state = state.replace(obs_stats=statistics, updates=state.updates + 1)
        metrics["log_std"] = jnp.mean(state.params["params"]["log_std"])
        counts = {field.name: getattr(state.faults, field.name) for field in fields(Faults)}
        return place(state, mesh), state.finished | metrics | counts

    return Learner(init=init, update=update, collect=collect, loss=batch_loss)
