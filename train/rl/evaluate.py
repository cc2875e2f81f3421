"""Evaluation: whole episodes on held-out resets, nothing learned."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from configs import TrainConfig
from ndp_jax.normalize import RunningStats
from train.rl import rollout
from train.rl.agent import (
    Act,
    Hyperparameters,
    Inputs,
    RobotEnv,
    make_act,
    make_explore,
    make_inference_fn,
    make_policy,
    means,
)
from train.rl.ppo import TrainState
from train.runs.intervals import wilson_interval
from train.system.devices import gather, replicate


class Pose(struct.PyTreeNode):
    """What MuJoCo needs to draw a state: leaves (..., nq), (..., nmocap, 3), (..., nmocap, 4)."""

    qpos: Float[Array, "..."]
    mocap_pos: Float[Array, "..."]
    mocap_quat: Float[Array, "..."]


class Outcome(struct.PyTreeNode):
    """How N episodes of L steps, with Q queries each, went.

    Attributes:
      success: after the last step, (N,); None where the task knows none.
      returns: undiscounted, (N,).
      distance: after the last step, m, (N,); None where the task knows none.
      broken: ended by a non-finite value, (N,).
      poses: after every step, leaves (N, L, ...); None where there is nothing to draw.
      inputs: of the policy at each query, leaves (N, Q, ...); None if no policy played.
    """

    success: Float[Array, " N"] | None
    returns: Float[Array, " N"]
    distance: Float[Array, " N"] | None
    broken: Bool[Array, " N"]
    poses: Pose | None
    inputs: Inputs | None = None


@runtime_checkable
class Play(Protocol):
    """Plays `episodes` episodes with the policy of a state; the same key gives the same resets."""

    def __call__(
        self, state: TrainState, key: PRNGKeyArray, *, episodes: int, stochastic: bool = False
    ) -> Outcome: ...


PlayBatch = Callable[[PyTree, RunningStats, Hyperparameters, PRNGKeyArray, Array], Outcome]
"""As many episodes as a configuration has environments: parameters, statistics of observations,
hyperparameters, a key and whether to explore, (), to how they went. Pure, to be jitted and vmapped.
"""


def play(
    env: RobotEnv,
    act: Act,
    key: PRNGKeyArray,
    *,
    num_envs: int,
    chunk: int,
    mesh: Mesh | None = None,
) -> tuple[Outcome, Any]:
    """Whole episodes in one batch: pure, to be jitted.

    Args:
      env: their environment.
      act: who acts.
      key: of resets and actions.
      num_envs: E.
      chunk: T, which divides the episode.
      mesh: the devices that share the episodes; each has the whole outcome.

    Returns:
      How they went, without `inputs`, and the extras of `act`, leaves (E, Q, ...).
    """
    reset_key, key = jax.random.split(key)
    final, transitions, poses = rollout.collect(
        env,
        act,
        rollout.reset(env, reset_key, num_envs, mesh=mesh),
        jax.random.split(key, env.episode_length // chunk),
        record=pose,
        mesh=mesh,
    )
    poses, extras = jax.tree.map(lambda x: x.swapaxes(0, 1), (poses, transitions.extras))
    return replicate((outcome(final, poses), extras), mesh)


def outcome(final: rollout.Episodes, poses: Pose | None) -> Outcome:
    """What the ends of episodes tell."""
    return Outcome(
        success=final.success,
        returns=final.returns,
        distance=final.distance,
        broken=final.broken,
        poses=poses,
    )


def in_batches(
    batch: Callable[[PRNGKeyArray], Outcome], key: PRNGKeyArray, *, episodes: int, num_envs: int
) -> Outcome:
    """So many episodes, `num_envs` at a time.

    One compiled program serves any number of them, and episode i of a key is the same however many
    are played.
    """
    keys = batch_keys(key, episodes=episodes, num_envs=num_envs)
    batches = [batch(key) for key in keys]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)


def make_batch_player(env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None) -> PlayBatch:
    """The evaluation of a configuration's policies in one batch of `config.num_envs` episodes."""

    def batch(
        params: PyTree,
        obs_stats: RunningStats,
        hyper: Hyperparameters,
        key: PRNGKeyArray,
        stochastic: Bool[Array, ""],
    ) -> Outcome:
        policy = make_policy(env, config, hyper)
        explore = make_explore(policy)

        def choose(*asked: Any) -> tuple[Float[Array, "E K P"], Float[Array, "E T A"]]:
            return jax.tree.map(partial(jnp.where, stochastic), explore(*asked), means(*asked))

        inference_fn = make_inference_fn(policy, params, obs_stats)
        act = make_act(env, inference_fn, choose)
        size = {"num_envs": config.num_envs, "chunk": config.steps_per_query}
        found, answers = play(env, act, key, **size, mesh=mesh)
        return found.replace(inputs=answers.inputs)  # pyright: ignore

    return batch


def make_player(env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None) -> Play:
    """The evaluation of a configuration's policies, with action means or exploring."""
    batch = jax.jit(make_batch_player(env, config, mesh=mesh))

    def player(
        state: TrainState, key: PRNGKeyArray, *, episodes: int, stochastic: bool = False
    ) -> Outcome:
        learned = state.params, state.obs_stats, state.hyper

        def one(key: PRNGKeyArray) -> Outcome:
            return gather(batch(*learned, key, jnp.asarray(stochastic)), mesh)

        return in_batches(one, key, episodes=episodes, num_envs=config.num_envs)

    return player


def batch_keys(key: PRNGKeyArray, *, episodes: int, num_envs: int) -> list[PRNGKeyArray]:
    """A key for each of the batches that `episodes` episodes take."""
    return [jax.random.fold_in(key, i) for i in range(-(-episodes // num_envs))]


def pose(state: State) -> Pose | None:
    """What a batch of states looks like; None where there is no physics."""
    data: Any = state.pipeline_state
    if not hasattr(data, "qpos"):
        return None
    return Pose(qpos=data.qpos, mocap_pos=data.mocap_pos, mocap_quat=data.mocap_quat)


def held_out_key(seed: int) -> PRNGKeyArray:
    """Key of the episodes a policy is judged by; training with the same seed never uses it."""
    return jax.random.fold_in(jax.random.key(seed), 2**31)


def validation_key(seed: int) -> PRNGKeyArray:
    """Key of the episodes that choose the best checkpoint, so that they are not those it is judged
    by."""
    return jax.random.fold_in(jax.random.key(seed), 2**31 + 1)


def demonstration_key(seed: int) -> PRNGKeyArray:
    """Key of the episodes that demonstrations show, which are none of the others."""
    return jax.random.fold_in(jax.random.key(seed), 2**31 + 2)


def summarize(outcome: Outcome) -> dict[str, float]:
    """Success with its 95 % Wilson interval, mean return and distance (m), broken episodes.

    What the task does not know is left out.
    """
    summary: dict[str, float] = {"episodes": outcome.returns.shape[0]}
    if outcome.success is not None:
        summary["success"] = float(jnp.mean(outcome.success))
        low, high = wilson_interval(summary["success"], outcome.returns.shape[0])
        summary |= {"success_low": low, "success_high": high}
    summary["returns"] = float(jnp.mean(outcome.returns))
    if outcome.distance is not None:
        summary["distance"] = float(jnp.mean(outcome.distance))
    return summary | {"broken": int(jnp.sum(outcome.broken))}


def sentence(summary: dict[str, float]) -> str:
    """A summary for people."""
    parts = [f"mean return {summary['returns']:,.0f}", f"{summary['episodes']} episodes"]
    if "distance" in summary:
        parts.insert(1, f"mean distance {100 * summary['distance']:.1f} cm")
    if "success" in summary:
        interval = f"{summary['success_low']:.3f} to {summary['success_high']:.3f}"
        parts.insert(0, f"success {summary['success']:.3f} (95 % interval {interval})")
    return ", ".join(parts)
