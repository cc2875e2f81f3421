"""Collection: an agent drives a batch of environments for a number of queries."""

from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

from envs.base import debugging
from train.rl.agent import Act, RobotEnv
from train.system.devices import each_its_own

Tree = TypeVar("Tree")


class Episodes(struct.PyTreeNode):
    """E environments in the middle of their episodes.

    Attributes:
      state: batched brax state; where an episode has ended early, its last.
      alive: false once an environment's episode has ended, other than by the time limit that all
        share, (E,).
      broken: true where a non-finite value ended it, (E,).
      returns: undiscounted sum of rewards since the reset, (E,).
      success: after the last step that happened; zero where broken, (E,); None where the task knows
        no success.
      distance: after the last step that happened, m, (E,); None where it knows none.
      step: control steps since the reset: (), as all started together, or (E,) where episodes end
        early.
    """

    state: State
    alive: Bool[Array, " E"]
    broken: Bool[Array, " E"]
    returns: Float[Array, " E"]
    success: Float[Array, " E"] | None
    distance: Float[Array, " E"] | None
    step: Int[Array, "*E"]


class Transitions(struct.PyTreeNode):
    """What Q queries to E environments were answered, and what the T steps after each brought.

    Attributes:
      action: (Q, E, T, A).
      extras: what else `act` returned, leaves (Q, E, ...).
      reward: (Q, E, T).
      valid: false for steps that did not happen or came out non-finite, (Q, E, T).
      terminated: true where the task itself ended the episode, (Q, E, T).
      truncated: true where a time limit did, whose steps an environment counts by itself; of those
        that are reset together there are none, (Q, E, T).
      ends: what was kept of the episodes after the steps of each query, leaves (Q, ...).
    """

    action: Float[Array, "..."]
    extras: PyTree
    reward: Float[Array, "..."]
    valid: Bool[Array, "..."]
    terminated: Bool[Array, "..."]
    truncated: Bool[Array, "..."]
    ends: PyTree


def strong(state: State) -> State:
    """Fixes weak types, which environments may mix, so that no program is compiled twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, x.dtype) if x.weak_type else x, state)


def reset(env: RobotEnv, key: PRNGKeyArray, num_envs: int, *, mesh: Mesh | None = None) -> Episodes:
    """Starts an episode in every environment, each from its own draw; `mesh` as in `collect`."""
    state = strong(each_its_own(jax.vmap(env.reset), mesh)(jax.random.split(key, num_envs)))
    return Episodes(
        state=state,
        alive=jnp.ones(num_envs, bool),
        broken=jnp.zeros(num_envs, bool),
        returns=jnp.zeros(num_envs),
        success=state.metrics.get("success"),
        distance=state.metrics.get("distance"),
        step=jnp.zeros((num_envs,) if env.ends_early else (), jnp.int32),
    )


def restart(
    env: RobotEnv, key: PRNGKeyArray, episodes: Episodes, *, mesh: Mesh | None = None
) -> Episodes:
    """Starts an episode, each from its own draw, where there is one that is over."""

    def anew() -> Episodes:
        fresh = reset(env, key, len(episodes.alive), mesh=mesh)
        return choose(episodes.alive, episodes, fresh)

    return jax.lax.cond(jnp.all(episodes.alive), lambda: episodes, anew)


def choose(condition: Bool[Array, " E"], tree: Tree, other: Tree) -> Tree:
    """For each environment the leaves (E, ...) of one tree or of the other."""

    def one(leaf: Array, otherwise: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, otherwise)

    return jax.tree.map(one, tree, other)


def collect(
    env: RobotEnv,
    act: Act,
    episodes: Episodes,
    keys: Key[Array, "Q *draws"],
    *,
    restarts: Key[Array, "Q"] | None = None,
    record: Callable[[State], PyTree] = lambda _: None,
    conclude: Callable[[Episodes], PyTree] = lambda _: None,
    mesh: Mesh | None = None,
) -> tuple[Episodes, Transitions, PyTree]:
    """Asks `act` once per key, and executes all T actions of each answer.

    An environment whose episode has ended early waits, in its last state, for its next query, if
    there are `restarts`, or for the others; the steps it waits are not valid. A step that came out
    non-finite (`metrics["nan"]`, the reward or the observation) is not valid either and breaks the
    episode: it ends without terminating, and the observation stays as it was. Not so where JAX is
    to stop at such numbers: it finds them in what comes out.

    Args:
      env: one environment; it is vmapped here.
      act: who acts.
      episodes: where the environments stand.
      keys: for each of Q queries one, or as many as `act` takes.
      restarts: for each query one, of the episodes that begin there where others have ended; None
        to begin none.
      record: what to keep of the batched state after every step; nothing by default.
      conclude: what to keep of the episodes after the steps of every query; nothing by default.
      mesh: the devices that the environments are spread over; None for one device.

    Returns:
      Where the environments stand afterwards, the Q x E x T transitions, and the record with
      leaves (Q x T, E, ...).
    """
    step_each = each_its_own(jax.vmap(env.step), mesh)

    def step(episodes: Episodes, action: Float[Array, "E A"]):
        state = strong(step_each(episodes.state, action))
        before, after = cast(Array, episodes.state.obs), cast(Array, state.obs)
        seen = jnp.all(jnp.isfinite(after), axis=-1) | debugging()
        sound = (jnp.isfinite(state.reward) | debugging()) & seen
        if "nan" in state.metrics:
            sound = (state.metrics["nan"] == 0) & sound
        state = state.replace(obs=jnp.where(seen[:, None], after, before))  # pyright: ignore
        breaks = episodes.alive & ~sound
        broken = episodes.broken | breaks
        valid = episodes.alive & ~breaks
        done, truncated = state.done > 0, jnp.zeros_like(valid)
        if env.ends_early:
            truncated = cut_off(env, state, episodes.step + 1)
            done |= truncated
            state = choose(valid, state, episodes.state)
        reward = jnp.where(valid, state.reward, 0.0)
        if debugging():  # of the observations within a chunk nothing else comes out
            reward += 0.0 * jnp.sum(after, axis=-1)
        success, distance = (
            None if last is None else jnp.where(valid, state.metrics[name], last)
            for name, last in (("success", episodes.success), ("distance", episodes.distance))
        )
        episodes = Episodes(
            state=state,
            alive=valid & ~done,
            broken=broken,
            returns=episodes.returns + reward,
            success=None if success is None else jnp.where(broken, 0.0, success),
            distance=distance,
            step=episodes.step + 1,
        )
        outcome = reward, valid, valid & done & ~truncated, valid & truncated
        return episodes, (outcome, record(state))

    def query(episodes: Episodes, keys: tuple[Key[Array, "*draws"], PRNGKeyArray | None]):
        key, restart_key = keys
        if restart_key is not None:
            episodes = restart(env, restart_key, episodes, mesh=mesh)
        action, extras = act(key, episodes.state)
        episodes, (outcome, records) = jax.lax.scan(step, episodes, action.swapaxes(0, 1))
        reward, valid, terminated, truncated = (x.swapaxes(0, 1) for x in outcome)
        transitions = Transitions(
            action=action,
            extras=extras,
            reward=reward,
            valid=valid,
            terminated=terminated,
            truncated=truncated,
            ends=conclude(episodes),
        )
        return episodes, (transitions, records)

    episodes, (transitions, records) = jax.lax.scan(query, episodes, (keys, restarts))
    records = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), records)
    return episodes, transitions, records


def cut_off(env: RobotEnv, state: State, step: Int[Array, " E"]) -> Bool[Array, " E"]:
    """Where an episode ends by a time limit after so many steps, be it brax's own `truncation`."""
    done = state.done > 0
    own = state.info["truncation"] > 0 if "truncation" in state.info else jnp.zeros_like(done)
    return jnp.where(done, own, step >= env.episode_length)
