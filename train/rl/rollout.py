"""Collection: an agent drives a batch of environments for a number of queries."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from envs.base import debugging
from ndp_jax.distributions import log_prob, sample
from ndp_jax.policies import PolicyOutput
from train.rl.agent import Inputs, Respond, RobotEnv, observe
from train.system.devices import each_its_own

Choose = Callable[[PRNGKeyArray, PolicyOutput], Float[Array, "E T A"]]


def explore(key: PRNGKeyArray, output: PolicyOutput) -> Float[Array, "E T A"]:
    """All T actions of a query, each with its own noise."""
    return sample(key, output.mean, output.log_std)


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
    """What Q queries to E environments saw, and what the T steps after each brought.

    Attributes:
      inputs: what the policy was given, leaves (Q, E, ...).
      action: (Q, E, T, A).
      log_prob: log density of each action when it was drawn, (Q, E, T).
      value: what the T value heads said at the query, (Q, E, T).
      reward: (Q, E, T).
      valid: false for steps that did not happen or came out non-finite, (Q, E, T).
      terminated: true where the task itself ended the episode, (Q, E, T).
    """

    inputs: Inputs
    action: Float[Array, "..."]
    log_prob: Float[Array, "..."]
    value: Float[Array, "..."]
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
    respond: Respond,
    choose: Choose,
    episodes: Episodes,
    key: PRNGKeyArray,
    *,
    queries: int,
    record: Callable[[State], PyTree] = lambda _: None,
    mesh: Mesh | None = None,
) -> tuple[Episodes, Transitions, PyTree]:
    """Queries the policy `queries` times and executes all T actions of each answer.

    An environment that ends its episode early waits for the others; the steps it waits are not
    valid. A step that came out non-finite (`metrics["nan"]`, the reward or the observation) is not
    valid either and ends the episode without terminating it; the observation stays as it was.
    Not so where JAX is to stop at such numbers: it finds them in what comes out.

    Args:
      env: one environment; it is vmapped here.
      respond: the policy.
      choose: how an answer becomes actions, for instance `explore`.
      episodes: where the environments stand.
      key: consumed by `choose`.
      queries: Q.
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

    def query(episodes: Episodes, key: PRNGKeyArray):
        inputs = observe(env, episodes.state)
        output = respond(inputs)
        action = choose(key, output)
        episodes, (outcome, records) = jax.lax.scan(step, episodes, action.swapaxes(0, 1))
        reward, valid, terminated = (x.swapaxes(0, 1) for x in outcome)
        transitions = Transitions(
            inputs=inputs,
            action=action,
            log_prob=log_prob(output.mean, output.log_std, action),
            value=output.value,
            reward=reward,
            valid=valid,
            terminated=terminated,
        )
        return episodes, (transitions, records)

    episodes, (transitions, records) = jax.lax.scan(query, episodes, jax.random.split(key, queries))
    records = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), records)
    return episodes, transitions, records
