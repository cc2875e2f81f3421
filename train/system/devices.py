"""One learner on several devices: environments are spread over them, all else is on each.

The program stays the one of a single device, with shardings laid on a few of its arrays: XLA splits
the work accordingly and adds sums up over devices, and random numbers are those of one device. Only
the environments' own functions are split by hand: their loops (of the contact solver, for one) run
until the last environment of a batch is done, and XLA would let all devices ask each other before
every turn. Without a mesh everything here gives back what it is given.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.system.errors import UserError

Tree = TypeVar("Tree")

AXIS = "devices"


def choose(count: int) -> Mesh | None:
    """The first `count` devices; None for one, which needs no mesh.

    Raises:
      UserError: there are not as many.
    """
    found = jax.devices()
    if count > len(found):
        simulate = f"XLA_FLAGS=--xla_force_host_platform_device_count={count} simulates more"
        raise UserError(
            f"--devices {count}, but this machine has {len(found)} ({found[0].platform}); "
            f"{simulate if found[0].platform == 'cpu' else f'give at most {len(found)}'}."
        )
    return make_mesh(found[:count]) if count > 1 else None


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """A mesh of one axis."""
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def gather(tree: Tree, mesh: Mesh | None) -> Tree:
    """The tree on one device of this process; all that share the mesh must ask for it."""
    if mesh is None:
        return tree
    everywhere = jax.jit(lambda tree: replicate(tree, mesh))(tree)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), everywhere)


def each_its_own(fn: Callable[..., Tree], mesh: Mesh | None) -> Callable[..., Tree]:
    """A function of batches that each device computes for its own part, knowing no other."""
    if mesh is None:
        return fn
    part = PartitionSpec(AXIS)
    return jax.shard_map(fn, mesh=mesh, in_specs=part, out_specs=part, check_vma=False)


def spread(tree: Tree, mesh: Mesh | None, *, axis: int = 0) -> Tree:
    """Cuts an axis of every leaf into one part per device; leaves without that axis are on each."""
    if mesh is None:
        return tree

    def cut(leaf: jax.Array) -> jax.Array:
        spec = PartitionSpec(*[None] * axis, AXIS) if leaf.ndim > axis else PartitionSpec()
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(cut, tree)


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """Puts every leaf whole on each device."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))
