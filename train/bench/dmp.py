"""Movements of a primitive, and their gradients."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ndp_jax import DMP
from train.bench import integrators
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, accelerated, attempt, seconds
from train.rl import memory


class Shape(NamedTuple):
    """D, N and steps of a movement."""

    dims: int
    n_basis: int
    n_steps: int


ROBOT, DIGIT = Shape(9, 6, 40), Shape(2, 30, 300)
SHAPES = (Shape(3, 6, 40), ROBOT, Shape(3, 30, 300), Shape(9, 30, 300))

QUICK = {ROBOT: (1, 32, 1024), DIGIT: (1, 10, 100)}
THOROUGH = dict.fromkeys(SHAPES, (1, 32, 1024, 8192, 65_536)) | {DIGIT: (1, 10, 100, 1000)}

LONGEST = 5.0
"""Seconds of a call, after which a way is not tried with more."""

LARGEST, COPIES = 2**26, 16
"""Numbers to copy, and for each that a path has, how many a call may hold at once."""


class Way(NamedTuple):
    """Somebody who integrates, the package that it takes, and whether there are gradients."""

    make: integrators.Make
    package: str = ""
    differentiates: bool = True


WAYS = {
    "matrix": Way(integrators.with_matrix),
    "scan": Way(integrators.with_scan),
    "PyTorch loop": Way(integrators.with_torch, "torch"),
    "diffrax": Way(integrators.with_diffrax, "diffrax"),
    "movement_primitives": Way(
        integrators.with_movement_primitives, "movement-primitives", differentiates=False
    ),
}


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every shape in every batch, without gradients and with them."""
    grid = [(shape, batch) for shape, batches in grid_of(sizes).items() for batch in batches]
    for shape, batch in grid:
        bytes_of = 4 * COPIES * shape.dims * shape.n_steps
        memory.check(lambda count, each=bytes_of: count * each, batch, option="--batches")
    copied = bandwidth()
    for backward in (False, True):
        slow: dict[tuple[str, Shape], float] = {}
        for shape, batch in grid:
            for name in WAYS:
                row = measure_way(name, shape, batch, backward, slow=slow.get((name, shape), 0.0))
                if row.seconds:
                    slow[name, shape] = row.median
                    moved = batch * bytes_moved(shape, backward=backward) / row.median
                    row = row._replace(more={"of copying": moved / copied})
                yield row


def grid_of(sizes: Sizes) -> dict[Shape, tuple[int, ...]]:
    """Batches of every shape."""
    grid = THOROUGH if sizes.thorough else QUICK
    if sizes.batches:
        return dict.fromkeys(grid, sizes.batches)
    return grid | ({ROBOT: (1, 1024, 65_536)} if accelerated() and not sizes.thorough else {})


def measure_way(name: str, shape: Shape, batch: int, backward: bool, *, slow: float) -> Row:
    """One way; `slow` are the seconds that it took for less."""
    way = WAYS[name]
    case: Case = {
        "": "forward and backward" if backward else "forward",
        **{"D": shape.dims, "N": shape.n_basis, "steps": shape.n_steps, "batch": batch},
    }
    if backward and not way.differentiates:
        return Row(case, name, note="has no gradients")
    if slow > LONGEST:
        return Row(case, name, note=f"left out, as less took {slow:.0f} s")

    def row() -> Row:
        dmp = DMP(n_basis=shape.n_basis, n_steps=shape.n_steps)
        call = way.make(dmp, draw(dmp, dims=shape.dims, batch=batch), backward=backward)
        return Row(case, name, seconds(call), batch)

    return attempt(case, name, row, package=way.package)


def draw(dmp: DMP, *, dims: int, batch: int) -> integrators.Inputs:
    """Random movements."""
    shapes = ((dims,), (dims, dmp.n_basis), (dims,), (dims,), (dmp.n_steps + 1, dims))
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return integrators.Inputs(
        *(jax.random.normal(key, (batch, *shape)) for key, shape in zip(keys, shapes, strict=True))
    )


def bytes_moved(shape: Shape, *, backward: bool) -> int:
    """That one movement cannot do without: parameters in and the path out, and with gradients the
    path's in and the parameters' out."""
    numbers = shape.dims * (3 + shape.n_basis + shape.n_steps + 1)
    return 4 * numbers * (2 if backward else 1)


def bandwidth() -> float:
    """Bytes per second of reading and writing that the device reaches when it copies."""
    numbers = jnp.ones(LARGEST)
    negate = jax.jit(jnp.negative)
    return 2 * numbers.nbytes / min(seconds(lambda: negate(numbers)))


SUITE = Suite(
    title="Movements of a primitive",
    unit="paths/s",
    ours=("matrix", "scan"),
    measure=measure,
    more={"of copying": "{:.0%}"},
    about='"of copying": bytes that must be read and written per second, next to those of copying '
    "256 MB here; what stays in caches may exceed it.",
)
