"""Closed loop: a policy that learned from demonstrations plays whole episodes."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from envs.base import MjxEnv
from ndp_jax.policies import PolicyOutput
from train.rl import pictures, rollout
from train.rl.agent import Inputs, observe
from train.rl.evaluate import Outcome, batch_keys, pose
from train.rl.rollout import Episodes

Act = Callable[[PyTree, Inputs], Float[Array, "E T A"]]
"""The next T actions from what was learned and the inputs; pure, it is jitted here."""


@runtime_checkable
class Play(Protocol):
    """Plays `episodes` episodes with what was learned; the same key gives the same resets."""

    def __call__(self, learned: PyTree, key: PRNGKeyArray, *, episodes: int) -> Outcome: ...


PlayBatch = Callable[[PyTree, PRNGKeyArray], Outcome]


def make_player(env: MjxEnv, act: Act, *, num_envs: int, chunk: int, camera: bool = False) -> Play:
    """The evaluation of a policy, `num_envs` episodes at a time.

    Args:
      env: the task's environment.
      act: the policy.
      num_envs: E.
      chunk: T, which divides the episode.
      camera: the policy's `observation` is pictures, (E, 84, 84, 3), from 0 to 1, in place of what
        the environment gives. Its outcomes have no `inputs`, and resets are those without a camera.

    Returns:
      The player. Other learned parameters of the same shapes compile nothing anew. It raises
      `UserError` where pictures cannot be taken.
    """
    make = make_seeing_batch if camera else make_batch
    batch = make(env, act, num_envs=num_envs, chunk=chunk)

    def play(learned: PyTree, key: PRNGKeyArray, *, episodes: int) -> Outcome:
        keys = batch_keys(key, episodes=episodes, num_envs=num_envs)
        batches = [batch(learned, key) for key in keys]
        return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:episodes], *batches)

    return play


def make_batch(env: MjxEnv, act: Act, *, num_envs: int, chunk: int) -> PlayBatch:
    """A batch of episodes of a policy that sees states, as one program."""

    @jax.jit
    def batch(learned: PyTree, key: PRNGKeyArray) -> Outcome:
        final, transitions, poses = rollout.collect(
            env,
            lambda inputs: answer(act(learned, inputs)),
            means,
            rollout.reset(env, jax.random.split(key)[0], num_envs),
            key,
            queries=env.episode_length // chunk,
            record=pose,
        )
        poses, inputs = jax.tree.map(lambda x: x.swapaxes(0, 1), (poses, transitions.inputs))
        return outcome(final).replace(poses=poses, inputs=inputs)  # pyright: ignore

    return batch


def make_seeing_batch(env: MjxEnv, act: Act, *, num_envs: int, chunk: int) -> PlayBatch:
    """A batch of episodes of a policy that sees pictures, taken on the host at every query."""

    @jax.jit
    def start(key: PRNGKeyArray):
        episodes = rollout.reset(env, jax.random.split(key)[0], num_envs)
        return episodes, pose(episodes.state)

    @jax.jit
    def choose(learned: PyTree, episodes: Episodes, images: Array) -> Float[Array, "E T A"]:
        inputs = observe(env, episodes.state)
        observation = images.astype(float) / 255
        return act(learned, inputs.replace(observation=observation))  # pyright: ignore

    @jax.jit
    def advance(episodes: Episodes, actions: Float[Array, "E T A"], key: PRNGKeyArray):
        episodes, _, poses = rollout.collect(
            env, lambda _: answer(actions), means, episodes, key, queries=1, record=pose
        )
        return episodes, poses

    def batch(learned: PyTree, key: PRNGKeyArray) -> Outcome:
        episodes, seen = start(key)
        chunks = []
        with pictures.camera(env) as camera:
            for _ in range(env.episode_length // chunk):
                actions = choose(learned, episodes, pictures.take(camera, seen))
                episodes, poses = advance(episodes, actions, key)
                seen = jax.tree.map(lambda x: x[-1], poses)
                chunks.append(poses)
        poses = jax.tree.map(lambda *x: jnp.concatenate(x).swapaxes(0, 1), *chunks)
        return outcome(episodes).replace(poses=poses)  # pyright: ignore

    return batch


def answer(actions: Float[Array, "E T A"]) -> PolicyOutput:
    """Actions as a policy's answer without noise and values."""
    log_std, value = jnp.zeros(actions.shape[-1]), jnp.zeros(actions.shape[:-1])
    return PolicyOutput(mean=actions, log_std=log_std, value=value)


def means(key: PRNGKeyArray, output: PolicyOutput) -> Float[Array, "E T A"]:
    """The actions as they were chosen."""
    del key
    return output.mean


def outcome(final: Episodes) -> Outcome:
    """What the ends of episodes tell."""
    return Outcome(
        success=final.success,
        returns=final.returns,
        distance=final.distance,
        broken=final.broken,
        poses=None,
    )
