"""Evaluation: whole episodes on held-out resets, nothing learned."""

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import State
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from configs import TrainConfig
from ndp_jax.normalize import RunningStats
from ndp_jax.policies import PolicyOutput
from train.rl import rollout
from train.rl.agent import Hyperparameters, Inputs, RobotEnv, make_policy, responder
from train.rl.ppo import TrainState
from train.system.devices import gather, replicate

RESAMPLES = 2000
"""Of a bootstrap."""


class Pose(struct.PyTreeNode):
    """What MuJoCo needs to draw a state: leaves (..., nq), (..., nmocap, 3), (..., nmocap, 4)."""

    qpos: Float[Array, "..."]
    mocap_pos: Float[Array, "..."]
    mocap_quat: Float[Array, "..."]


class Outcome(struct.PyTreeNode):
    """How N episodes of L steps, with Q queries each, went.

    Attributes:
      success: after the last step, (N,).
      returns: undiscounted, (N,).
      distance: after the last step, m, (N,).
      broken: ended by a non-finite value, (N,).
      poses: after every step, leaves (N, L, ...); None where there is nothing to draw.
      inputs: of the policy at each query, leaves (N, Q, ...); None if no policy played.
    """

    success: Float[Array, " N"]
    returns: Float[Array, " N"]
    distance: Float[Array, " N"]
    broken: Bool[Array, " N"]
    poses: Pose | None
    inputs: Inputs | None = None


@runtime_checkable
class Play(Protocol):
    """Plays `episodes` episodes with the policy of a state; the same key gives the same resets."""

    def __call__(
        self, state: TrainState, key: PRNGKeyArray, *, episodes: int, stochastic: bool = False
    ) -> Outcome: ...


@runtime_checkable
class PlayBatch(Protocol):
    """As many episodes as a configuration has environments: pure, to be jitted and vmapped."""

    def __call__(
        self,
        params: PyTree,
        observation: RunningStats,
        hyper: Hyperparameters,
        key: PRNGKeyArray,
        stochastic: Bool[Array, ""],
    ) -> Outcome: ...


def make_batch_player(env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None) -> PlayBatch:
    """The evaluation of a configuration's policies in one batch of `config.num_envs` episodes.

    With a mesh its devices share the episodes, and each has the whole outcome.
    """

    def batch(
        params: PyTree,
        observation: RunningStats,
        hyper: Hyperparameters,
        key: PRNGKeyArray,
        stochastic: Bool[Array, ""],
    ) -> Outcome:
        def choose(key: PRNGKeyArray, output: PolicyOutput) -> Float[Array, "E T A"]:
            return jnp.where(stochastic, rollout.explore(key, output), output.mean)

        reset_key, key = jax.random.split(key)
        final, transitions, poses = rollout.collect(
            env,
            responder(make_policy(env, config, hyper), params, observation),
            choose,
            rollout.reset(env, reset_key, config.num_envs, mesh=mesh),
            key,
            queries=env.episode_length // config.steps_per_query,
            record=pose,
            mesh=mesh,
        )
        poses, inputs = jax.tree.map(lambda x: x.swapaxes(0, 1), (poses, transitions.inputs))
        outcome = Outcome(
            success=final.success,
            returns=final.returns,
            distance=final.distance,
            broken=final.broken,
            poses=poses,
            inputs=inputs,
        )
        return replicate(outcome, mesh)

    return batch


def make_player(env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None) -> Play:
    """The evaluation of a configuration's policies, with action means or exploring.

    It runs `config.num_envs` episodes at a time, so that one compiled program serves any number of
    them, and episode i of a key is the same however many are played.
    """
    batch = jax.jit(make_batch_player(env, config, mesh=mesh))

    def play(
        state: TrainState, key: PRNGKeyArray, *, episodes: int, stochastic: bool = False
    ) -> Outcome:
        learned = state.params, state.observation, state.hyper
        keys = batch_keys(key, episodes=episodes, num_envs=config.num_envs)
        batches = [gather(batch(*learned, key, jnp.asarray(stochastic)), mesh) for key in keys]
        return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)

    return play


def batch_keys(key: PRNGKeyArray, *, episodes: int, num_envs: int) -> list[PRNGKeyArray]:
    """A key for each of the batches that `episodes` episodes take."""
    return [jax.random.fold_in(key, i) for i in range(-(-episodes // num_envs))]


def pose(state: State) -> Pose | None:
    """What a batch of states looks like; None where there is no physics."""
    data: Any = state.pipeline_state
    if data is None:
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
    """Success with its 95 % Wilson interval, mean return and distance (m), broken episodes."""
    episodes = outcome.success.shape[0]
    success = float(jnp.mean(outcome.success))
    low, high = wilson_interval(success, episodes)
    return {
        "episodes": episodes,
        "success": success,
        "success_low": low,
        "success_high": high,
        "returns": float(jnp.mean(outcome.returns)),
        "distance": float(jnp.mean(outcome.distance)),
        "broken": int(jnp.sum(outcome.broken)),
    }


def sentence(summary: dict[str, float]) -> str:
    """A summary for people."""
    return (
        f"success {summary['success']:.3f} "
        f"(95 % interval {summary['success_low']:.3f} to {summary['success_high']:.3f}), "
        f"mean return {summary['returns']:,.0f}, mean distance {100 * summary['distance']:.1f} cm, "
        f"{summary['episodes']} episodes"
    )


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of a few seeds' values."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.mean(values[draws], axis=1), [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(rate: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, 1927)."""
    z2 = 1.959964**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    half = math.sqrt(z2) * spread / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)
