"""Collection: an agent drives a batch of environments for a number of queries."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

from envs.base import debugging
from train.rl.agent import Act, RobotEnv
from train.system.devices import each_its_own


class Episodes(struct.PyTreeNode):
    """E environments in the middle of their episodes, which all started together.

    Attributes:
      state: batched brax state.
      alive: false once an environment's episode has ended early, (E,).
      broken: true where a non-finite value ended it, (E,).
      returns: undiscounted sum of rewards since the reset, (E,).
      success: after the last step that happened; zero where broken, (E,).
      distance: after the last step that happened, m, (E,).
      step: control steps since the reset, ().
    """

    state: State
    alive: Bool[Array, " E"]
    broken: Bool[Array, " E"]
    returns: Float[Array, " E"]
    success: Float[Array, " E"]
    distance: Float[Array, " E"]
    step: Int[Array, ""]


class Transitions(struct.PyTreeNode):
    """What Q queries to E environments were answered, and what the T steps after each brought.

    Attributes:
      action: (Q, E, T, A).
      extras: what else `act` returned, leaves (Q, E, ...).
      reward: (Q, E, T).
      valid: false for steps that did not happen or came out non-finite, (Q, E, T).
      terminated: true where the task itself ended the episode, (Q, E, T).
    """

    action: Float[Array, "..."]
    extras: PyTree
    reward: Float[Array, "..."]
    valid: Bool[Array, "..."]
    terminated: Bool[Array, "..."]


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
        success=state.metrics["success"],
        distance=state.metrics["distance"],
        step=jnp.zeros((), jnp.int32),
    )


def collect(
    env: RobotEnv,
    act: Act,
    episodes: Episodes,
    keys: Key[Array, "Q *draws"],
    *,
    record: Callable[[State], PyTree] = lambda _: None,
    mesh: Mesh | None = None,
) -> tuple[Episodes, Transitions, PyTree]:
    """Asks `act` once per key, and executes all T actions of each answer.

    An environment that ends its episode early waits for the others; the steps it waits are not
    valid. A step that came out non-finite (`metrics["nan"]`, the reward or the observation) is not
    valid either and breaks the episode: it ends without terminating, and the observation stays as
    it was. Not so where JAX is to stop at such numbers: it finds them in what comes out.

    Args:
      env: one environment; it is vmapped here.
      act: who acts.
      episodes: where the environments stand.
      keys: for each of Q queries one, or as many as `act` takes.
      record: what to keep of the batched state after every step; nothing by default.
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
        sound = (state.metrics["nan"] == 0) & (jnp.isfinite(state.reward) | debugging()) & seen
        state = state.replace(obs=jnp.where(seen[:, None], after, before))  # pyright: ignore
        breaks = episodes.alive & ~sound
        broken = episodes.broken | breaks
        valid = episodes.alive & ~breaks
        done = state.done > 0
        reward = jnp.where(valid, state.reward, 0.0)
        if debugging():  # of the observations within a chunk nothing else comes out
            reward += 0.0 * jnp.sum(after, axis=-1)
        success = jnp.where(valid, state.metrics["success"], episodes.success)
        episodes = Episodes(
            state=state,
            alive=valid & ~done,
            broken=broken,
            returns=episodes.returns + reward,
            success=jnp.where(broken, 0.0, success),
            distance=jnp.where(valid, state.metrics["distance"], episodes.distance),
            step=episodes.step + 1,
        )
        return episodes, ((reward, valid, valid & done), record(state))

    def query(episodes: Episodes, key: Key[Array, "*draws"]):
        action, extras = act(key, episodes.state)
        episodes, (outcome, records) = jax.lax.scan(step, episodes, action.swapaxes(0, 1))
        reward, valid, terminated = (x.swapaxes(0, 1) for x in outcome)
        transitions = Transitions(
            action=action, extras=extras, reward=reward, valid=valid, terminated=terminated
        )
        return episodes, (transitions, records)

    episodes, (transitions, records) = jax.lax.scan(query, episodes, keys)
    records = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), records)
    return episodes, transitions, records
