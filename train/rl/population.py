"""Many runs as one program: their states stacked, updated and evaluated together."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from configs import TrainConfig
from train.rl.agent import Hyperparameters, RobotEnv, hyperparameters
from train.rl.evaluate import Outcome, make_batch_player
from train.rl.ppo import TrainState, make_learner
from train.system.devices import AXIS, make_mesh

BLOCKS, WHOLE = PartitionSpec(None, AXIS), PartitionSpec()
"""Of leaves (B, b, ...) whose slots are spread over devices, and of what each device has whole."""


class Population(struct.PyTreeNode):
    """M runs in B blocks of b slots; a block is updated at once, the blocks one after another.

    Attributes:
      states: of the runs, leaves (B, b, ...).
      member: who sits in a slot, (B, b); a number of M or more fills an empty one.
      active: how many blocks, from the first on, are still trained, ().
    """

    states: TrainState
    member: Int[Array, "B b"]
    active: Int[Array, ""]


class Programs(NamedTuple):
    """Compiled functions of a population; all but `evaluate` use up the one they are given.

    Attributes:
      init: the population at the start.
      update: one update of every member of the active blocks; the new population and metrics by
        name, (B, b).
      evaluate: population, a key for each slot (B, b) and whether to explore, to the `Outcome`s of
        the active blocks, leaves (B, b, E).
      keep: population, an order of all slots (B x b,) and a number of blocks: the population in
        this order, of which so many blocks are trained on.
      place: a population from elsewhere to where the programs want it.
    """

    init: Callable[[], Population]
    update: Callable[[Population], tuple[Population, dict[str, Array]]]
    evaluate: Callable[[Population, Array, bool], Outcome]
    keep: Callable[[Population, Int[np.ndarray, " slots"], int], Population]
    place: Callable[[Population], Population]


def make_programs(
    env: RobotEnv, configs: list[TrainConfig], *, slots: int, mesh: Mesh | None = None
) -> Programs:
    """Compiles nothing yet; each program is compiled once, when it is first called.

    Args:
      env: the environment of all members.
      configs: of the M members, which differ in nothing but their seeds and `Hyperparameters`.
      slots: b.
      mesh: the devices that the slots of a block are spread over, evenly; None for one.
    """
    learner, play = make_learner(env, configs[0]), make_batch_player(env, configs[0])
    mesh = mesh or make_mesh(jax.devices()[:1])
    blocks = -(-len(configs) // slots)
    seats = np.arange(blocks * slots).reshape(blocks, slots)
    taken = [configs[min(seat, len(configs) - 1)] for seat in seats.flat]
    hyper = jax.tree.map(
        lambda *leaves: np.stack(leaves).reshape(seats.shape), *map(hyperparameters, taken)
    )
    keys = jnp.stack([jax.random.key(config.seed) for config in taken]).reshape(seats.shape)

    over_devices = partial(jax.shard_map, mesh=mesh, out_specs=BLOCKS, check_vma=False)

    @partial(over_devices, in_specs=(BLOCKS, BLOCKS))
    def init(hyper: Hyperparameters, keys: Array) -> TrainState:
        return lax.map(lambda block: jax.vmap(learner.init)(*block), (keys, hyper))

    @partial(over_devices, in_specs=(WHOLE, BLOCKS))
    def update(active: Int[Array, ""], states: TrainState):
        return map_blocks(jax.vmap(learner.update), active, states)

    @partial(over_devices, in_specs=(WHOLE, WHOLE, BLOCKS, BLOCKS))
    def evaluate(active: Int[Array, ""], stochastic: Array, states: TrainState, keys: Array):
        def block(states: TrainState, key: Array) -> Outcome:
            outcome = play(states.params, states.obs_stats, states.hyper, key, stochastic)
            return outcome.replace(poses=None, inputs=None)

        return map_blocks(lambda part: (part, jax.vmap(block)(*part)), active, (states, keys))[1]

    spread, whole = NamedSharding(mesh, BLOCKS), NamedSharding(mesh, WHOLE)
    sharding: Any = Population(states=spread, member=whole, active=whole)  # pyright: ignore

    @partial(jax.jit, out_shardings=sharding)
    def start(hyper: Hyperparameters, keys: Array) -> Population:
        return Population(
            states=init(hyper, keys),
            member=jnp.asarray(seats),
            active=jnp.asarray(blocks, jnp.int32),
        )

    @partial(jax.jit, donate_argnums=0, out_shardings=(sharding, None))
    def advance(population: Population) -> tuple[Population, dict[str, Array]]:
        states, metrics = update(population.active, population.states)
        return population.replace(states=states), metrics

    @jax.jit
    def judge(population: Population, keys: Array, stochastic: Array) -> Outcome:
        return evaluate(population.active, stochastic, population.states, keys)

    @partial(jax.jit, donate_argnums=0, out_shardings=sharding)
    def keep(population: Population, order: Int[Array, " slots"], active: Array) -> Population:
        def reorder(leaf: Array) -> Array:
            return leaf.reshape(len(order), *leaf.shape[2:])[order].reshape(leaf.shape)

        states, member = jax.tree.map(reorder, (population.states, population.member))
        return Population(states=states, member=member, active=active)

    return Programs(
        init=lambda: start(hyper, keys),
        update=advance,
        evaluate=lambda population, keys, stochastic: judge(
            population, keys, jnp.asarray(stochastic)
        ),
        keep=lambda population, order, active: keep(
            population, jnp.asarray(order), jnp.asarray(active, jnp.int32)
        ),
        place=lambda population: jax.device_put(population, sharding),
    )


def map_blocks(fn: Callable[[Any], tuple[Any, Any]], active: Int[Array, ""], tree: PyTree):
    """Applies `fn` to the first `active` blocks of `tree`, one after another.

    Args:
      fn: a block to the block changed, and what to tell of it.
      active: how many blocks; the others stay as they are, and nothing is told of them.
      tree: leaves (B, ...).

    Returns:
      The tree changed, and what was told, leaves (B, ...) with 0 for the other blocks.
    """
    told = jax.eval_shape(fn, jax.tree.map(lambda x: x[0], tree))[1]
    blocks = jax.tree.leaves(tree)[0].shape[0]

    def empty(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros((blocks, *leaf.shape), leaf.dtype)

    def step(i: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        tree, told = carry
        results = fn(jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), tree))
        return jax.tree.map(
            lambda x, new: lax.dynamic_update_index_in_dim(x, new, i, 0), (tree, told), results
        )

    return lax.fori_loop(0, active, step, (tree, jax.tree.map(empty, told)))
