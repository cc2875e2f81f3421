"""Supervised learning: gradient descent on a loss over a fixed set of examples.

One gradient step is one pure function over one pytree, to be jitted, vmapped over seeds and
learning rates, and called again and again. It is not scanned over: on CPUs XLA runs convolutions
inside a loop about 15 times slower than outside.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from rich.console import Console

from configs import Descent
from train.rl.ppo import finite

ADAM = optax.scale_by_adam()


class LearnerState(struct.PyTreeNode):
    """Everything the next gradient step needs.

    Attributes:
      variables: of the model: `params`, and what is not learned.
      optimizer: Adam's moments.
      order: of the examples in this pass, (N,).
      key: of the next pass.
      steps: done so far.
      skipped_minibatches: left out because loss or gradient was not finite.
      skipped_in_a_row: up to the last minibatch.
      learning_rate: at the start.
      total_steps: at whose end the learning rate is zero.
    """

    variables: PyTree
    optimizer: optax.OptState
    order: Int[Array, " N"]
    key: PRNGKeyArray
    steps: Int[Array, ""]
    skipped_minibatches: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]
    learning_rate: Float[Array, ""]
    total_steps: Int[Array, ""]


Loss = Callable[[PyTree, PyTree, PRNGKeyArray], Float[Array, ""]]
"""Variables, a minibatch, leaves (batch, ...), and a key for its augmentation to the mean loss."""


class Material(NamedTuple):
    """What a run learns from.

    Attributes:
      examples: leaves (N, ...), on the device.
      about: it, for people.
      error: of variables on what is held out.
      finish: ends a run: judges variables, draws into a folder, and returns the evaluation and a
        sentence; the seed is that of the episodes of a robot.
    """

    examples: PyTree
    about: str
    error: Callable[[PyTree], float]
    finish: Callable[[PyTree, Path, Console, int], tuple[dict[str, Any], str]]


class Problem(NamedTuple):
    """What is imitated.

    Attributes:
      size: N, examples to learn from.
      init: a key and examples, or their shapes, to the variables of a model.
      blank: one example of the right shape, for shapes alone.
      loss: of the learner.
      load: what to learn from; reads files, or makes them.
    """

    size: int
    init: Callable[[PRNGKeyArray, PyTree], PyTree]
    blank: PyTree
    loss: Loss
    load: Callable[[], Material]


class Learner(NamedTuple):
    """Pure functions.

    Attributes:
      init: variables of the model and a key to the first state.
      update: a gradient step: state and examples, leaves (N, ...), to the next state and metrics.
    """

    init: Callable[[PyTree, PRNGKeyArray], LearnerState]
    update: Callable[[LearnerState, PyTree], tuple[LearnerState, dict[str, Array]]]


def make_learner(loss: Loss, descent: Descent, *, examples: int) -> Learner:
    """The learner of a loss, for a number of examples.

    A pass visits them in a new random order, in minibatches of `descent.batch`; those that fill
    none wait for the next pass.
    """
    batch = min(descent.batch, examples)
    minibatches = examples // batch

    def init(variables: PyTree, key: PRNGKeyArray) -> LearnerState:
        steps, skipped, in_a_row = jnp.zeros((3,), jnp.int32)
        return LearnerState(
            variables=variables,
            optimizer=ADAM.init(variables["params"]),
            order=jnp.arange(examples),
            key=key,
            steps=steps,
            skipped_minibatches=skipped,
            skipped_in_a_row=in_a_row,
            learning_rate=jnp.asarray(descent.learning_rate, float),
            total_steps=jnp.asarray(descent.steps, jnp.int32),
        )

    def next_pass(state: LearnerState) -> LearnerState:
        key, order_key = jax.random.split(state.key)
        return state.replace(key=key, order=jax.random.permutation(order_key, examples))

    def update(state: LearnerState, examples: PyTree) -> tuple[LearnerState, dict[str, Array]]:
        number = state.steps % minibatches
        state = jax.lax.cond(number == 0, next_pass, lambda state: state, state)
        chosen = jax.lax.dynamic_slice_in_dim(state.order, number * batch, batch)
        minibatch = jax.tree.map(lambda leaf: leaf[chosen], examples)

        key = jax.random.fold_in(state.key, state.steps)
        params = state.variables["params"]
        total, gradient = jax.value_and_grad(
            lambda params: loss(state.variables | {"params": params}, minibatch, key)
        )(params)
        done = state.steps / state.total_steps
        rate = state.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(done, 1.0)))
        direction, optimizer = ADAM.update(gradient, state.optimizer)
        moved = jax.tree.map(lambda p, d: p - rate * d, params, direction), optimizer
        sound = finite((total, moved))
        params, optimizer = jax.tree.map(
            partial(jnp.where, sound), moved, (params, state.optimizer)
        )
        state = state.replace(
            variables=state.variables | {"params": params},
            optimizer=optimizer,
            steps=state.steps + 1,
            skipped_minibatches=state.skipped_minibatches + ~sound,
            skipped_in_a_row=jnp.where(sound, 0, state.skipped_in_a_row + 1),
        )
        return state, {"loss": total, "gradient_norm": optax.tree.norm(gradient)}

    return Learner(init=init, update=update)
