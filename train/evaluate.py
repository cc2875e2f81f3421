"""Evaluation: whole episodes on held-out resets, nothing learned."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from configs import TrainConfig
from envs.base import MjxEnv
from ndp_jax.normalize import RunningStats
from train import rollout
from train.agent import Hyperparameters, chunk_of, make_policy, responder
from train.ppo import TrainState


class Pose(struct.PyTreeNode):
    """What MuJoCo needs to draw a state: leaves (..., nq), (..., nmocap, 3), (..., nmocap, 4)."""

    qpos: Float[Array, "..."]
    mocap_pos: Float[Array, "..."]
    mocap_quat: Float[Array, "..."]


class Outcome(struct.PyTreeNode):
    """How N episodes of L steps went.

    Attributes:
      success: after the last step, (N,).
      returns: undiscounted, (N,).
      distance: after the last step, m, (N,).
      broken: ended by a non-finite value, (N,).
      poses: after every step, leaves (N, L, ...); None if not recorded.
    """

    success: Float[Array, " N"]
    returns: Float[Array, " N"]
    distance: Float[Array, " N"]
    broken: Bool[Array, " N"]
    poses: Pose


def play(
    env: MjxEnv,
    config: TrainConfig,
    state: TrainState,
    key: PRNGKeyArray,
    *,
    episodes: int,
    choose: rollout.Choose,
) -> Outcome:
    """Plays episodes with a trained policy.

    It runs `config.num_envs` at a time, so that one compiled program serves any number of episodes.
    """

    @jax.jit
    def batch(
        params: PyTree, observation: RunningStats, hyper: Hyperparameters, key: PRNGKeyArray
    ) -> Outcome:
        reset_key, key = jax.random.split(key)
        final, _, poses = rollout.collect(
            env,
            responder(make_policy(env, config, hyper), params, observation),
            choose,
            rollout.reset(env, reset_key, config.num_envs),
            key,
            queries=env.episode_length // chunk_of(config),
            record=pose,
        )
        return Outcome(
            success=final.success,
            returns=final.returns,
            distance=final.distance,
            broken=final.broken,
            poses=jax.tree.map(lambda x: x.swapaxes(0, 1), poses),
        )

    keys = jax.random.split(key, -(-episodes // config.num_envs))
    batches = [batch(state.params, state.observation, state.hyper, key) for key in keys]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)


def pose(state: State) -> Pose:
    """What a batch of states looks like."""
    data: Any = state.pipeline_state
    return Pose(qpos=data.qpos, mocap_pos=data.mocap_pos, mocap_quat=data.mocap_quat)


def held_out_key(seed: int) -> PRNGKeyArray:
    """A key that training with the same seed never uses."""
    return jax.random.fold_in(jax.random.key(seed), 2**31)


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
        "return": float(jnp.mean(outcome.returns)),
        "distance": float(jnp.mean(outcome.distance)),
        "broken": int(jnp.sum(outcome.broken)),
    }


def sentence(summary: dict[str, float]) -> str:
    """A summary for people."""
    return (
        f"success {summary['success']:.3f} "
        f"(95 % interval {summary['success_low']:.3f} to {summary['success_high']:.3f}), "
        f"mean return {summary['return']:,.0f}, mean distance {100 * summary['distance']:.1f} cm, "
        f"{summary['episodes']} episodes"
    )


def wilson_interval(rate: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, 1927)."""
    z2 = 1.959964**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    half = math.sqrt(z2) * spread / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)
