"""Closed loop: a policy that learned from demonstrations plays whole episodes."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from envs.base import MjxEnv
from ndp_jax.policies import PolicyOutput
from train.rl import evaluate, pictures, rollout
from train.rl.agent import Inputs, make_act, means, observe
from train.rl.evaluate import Outcome

Answer = Callable[[PyTree, Inputs], PolicyOutput]
"""A policy as a function of what was learned and its inputs; pure, it is jitted here."""

PlayBatch = Callable[[PyTree, PRNGKeyArray], Outcome]


@runtime_checkable
class Play(Protocol):
    """Plays `episodes` episodes with what was learned; the same key gives the same resets."""

    def __call__(self, learned: PyTree, key: PRNGKeyArray, *, episodes: int) -> Outcome: ...


def make_player(
    env: MjxEnv, answer: Answer, *, num_envs: int, chunk: int, camera: bool = False
) -> Play:
    """The evaluation of a policy by its action means, `num_envs` episodes at a time.

    Args:
      env: the task's environment.
      answer: the policy.
      num_envs: E.
      chunk: T, which divides the episode.
      camera: the policy's `observation` is pictures, (E, 84, 84, 3), from 0 to 1, in place of what
        the environment gives. Its outcomes have no `inputs`, and resets are those without a camera.

    Returns:
      The player. Other learned parameters of the same shapes compile nothing anew. It raises
      `UserError` where pictures cannot be taken.
    """
    make = make_seeing_batch if camera else make_batch
    batch = make(env, answer, num_envs=num_envs, chunk=chunk)

    def play(learned: PyTree, key: PRNGKeyArray, *, episodes: int) -> Outcome:
        def one(key: PRNGKeyArray) -> Outcome:
            return batch(learned, key)

        return evaluate.in_batches(one, key, episodes=episodes, num_envs=num_envs)

    return play


def make_batch(env: MjxEnv, answer: Answer, *, num_envs: int, chunk: int) -> PlayBatch:
    """A batch of episodes of a policy that sees states, as one program."""

    @jax.jit
    def batch(learned: PyTree, key: PRNGKeyArray) -> Outcome:
        act = make_act(env, lambda inputs: answer(learned, inputs), means)
        found, answers = evaluate.play(env, act, key, num_envs=num_envs, chunk=chunk)
        return found.replace(inputs=answers.inputs)  # pyright: ignore

    return batch


def make_seeing_batch(env: MjxEnv, answer: Answer, *, num_envs: int, chunk: int) -> PlayBatch:
    """A batch of episodes of a policy that sees pictures, taken on the host at every query."""

    @jax.jit
    def start(key: PRNGKeyArray):
        episodes = rollout.reset(env, jax.random.split(key)[0], num_envs)
        return episodes, evaluate.pose(episodes.state)

    @jax.jit
    def choose(learned: PyTree, episodes: rollout.Episodes, images: Array) -> Float[Array, "E T A"]:
        observation = images.astype(float) / 255
        inputs = observe(env, episodes.state).replace(observation=observation)  # pyright: ignore
        return answer(learned, inputs).mean

    @jax.jit
    def advance(episodes: rollout.Episodes, action: Float[Array, "E T A"], key: PRNGKeyArray):
        def act(*_):
            return action, None

        episodes, _, poses = rollout.collect(env, act, episodes, key[None], record=evaluate.pose)
        return episodes, poses

    def batch(learned: PyTree, key: PRNGKeyArray) -> Outcome:
        episodes, seen = start(key)
        chunks = []
        with pictures.camera(env) as camera:
            for _ in range(env.episode_length // chunk):
                action = choose(learned, episodes, pictures.take(camera, seen))
                episodes, poses = advance(episodes, action, key)
                seen = jax.tree.map(lambda x: x[-1], poses)
                chunks.append(poses)
        poses = jax.tree.map(lambda *x: jnp.concatenate(x).swapaxes(0, 1), *chunks)
        return evaluate.outcome(episodes, poses)

    return batch
