"""Movements of a primitive, and their gradients."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ndp_jax import DMP
from train.bench import integrators
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, accelerated, attempt, seconds
from train.rl import memory
from train.system.errors import UserError


class Shape(NamedTuple):
    """D, N and steps of a movement."""

    dims: int
    n_basis: int
    n_steps: int


ROBOT, DIGIT = Shape(9, 6, 40), Shape(2, 30, 300)
SHAPES = (Shape(3, 6, 40), ROBOT, Shape(3, 30, 300), Shape(9, 30, 300))

QUICK = {ROBOT: (1, 32, 1024), DIGIT: (1, 10, 100)}
QUICK_ON_ACCELERATOR = {ROBOT: (1, 1024, 65_536), DIGIT: (1, 100, 8192)}
THOROUGH = dict.fromkeys(SHAPES, (1, 32, 1024, 8192, 65_536)) | {DIGIT: (1, 10, 100, 1000)}

LONGEST = 5.0
"""Seconds of a call, after which a way is not tried with more."""

LARGEST, COPIES = 2**26, 16
"""Numbers to copy, and for each that a path has, how many a call may hold at once."""


WAYS: dict[str, tuple[str, integrators.Make]] = {
    "matrix": ("", partial(integrators.ours, method="matrix")),
    "scan": ("", partial(integrators.ours, method="scan")),
    "PyTorch loop": ("torch", integrators.torch_loop),
    "diffrax": ("diffrax", integrators.diffrax),
    "movement_primitives": ("movement-primitives", integrators.movement_primitives),
}
"""Who integrates, and the packages that they take."""


def measure(sizes: Sizes) -> Iterator[Row]:
    """Every shape in every batch, without gradients and with them."""
    grid = [(shape, batch) for shape, batches in grid_of(sizes).items() for batch in batches]
    for shape, batch in grid:
        each = 4 * COPIES * shape.dims * shape.n_steps
        memory.check(lambda count, each=each: count * each, batch, option="--batches")
    copied, slow = bandwidth(), {}
    for backward, (shape, batch), name in product((False, True), grid, WAYS):
        row = measure_way(name, shape, batch, backward, slow=slow.get((name, shape, backward), 0))
        if row.seconds:
            slow[name, shape, backward] = row.quartiles[1]
            moved = row.speed * bytes_moved(shape, backward=backward)
            row = row._replace(more={"of copying": moved / copied})
        yield row


def grid_of(sizes: Sizes) -> Mapping[Shape, tuple[int, ...]]:
    """Batches of every shape."""
    grid = THOROUGH if sizes.thorough else QUICK_ON_ACCELERATOR if accelerated() else QUICK
    return dict.fromkeys(grid, sizes.batches) if sizes.batches else grid


def measure_way(name: str, shape: Shape, batch: int, backward: bool, *, slow: float) -> Row:
    """One way; `slow` are the seconds that it took for less."""
    package, make = WAYS[name]
    what = "forward and backward" if backward else "forward"
    size = {"D": shape.dims, "N": shape.n_basis, "steps": shape.n_steps, "batch": batch}
    case: Case = {"": what} | size

    def row() -> Row:
        if slow > LONGEST:
            raise UserError(f"left out, as less took {slow:.0f} s")
        dmp = DMP(n_basis=shape.n_basis, n_steps=shape.n_steps)
        inputs = draw(dmp, dims=shape.dims, batch=batch)
        return Row(case, name, seconds(make(dmp, inputs, backward)), batch)

    return attempt(case, name, row, package=package)


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
