"""Movements of a primitive, and their gradients."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ndp_jax import DMP
from train.bench import integrators
from train.bench.sizes import Sizes
from train.bench.suite import Case, Row, Suite, accelerated, measured, seconds
from train.rl import memory

SHAPES = ((3, 6, 40), (9, 6, 40), (3, 30, 300), (9, 30, 300))
DIGITS, DIGITS_BATCH = (2, 30, 300), 100
"""D, N and steps of robots' movements, and those of the strokes of digits."""

ON_CPU, ON_ACCELERATOR = (1, 32, 1024), (1, 32, 1024, 8192, 65_536)
LONGEST = 5.0
"""Seconds of a call, after which a way is not tried with more."""

LARGE, COPIES = 2**26, 16
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
    usual = sizes.batches or (ON_ACCELERATOR if accelerated() else ON_CPU)
    grid = [(shape, batch) for shape in SHAPES for batch in usual]
    grid += [(DIGITS, batch) for batch in sizes.batches or (DIGITS_BATCH,)]
    for (dims, _, n_steps), batch in grid:
        bytes_of = 4 * COPIES * dims * n_steps
        memory.check(lambda count, each=bytes_of: count * each, batch, option="--batches")
    copied = bandwidth()
    for backward in (False, True):
        slow: dict[tuple, float] = {}
        for shape, batch in grid:
            dims, n_basis, n_steps = shape
            what = "forward and backward" if backward else "forward"
            case = {"": what, "D": dims, "N": n_basis, "steps": n_steps, "batch": batch}
            for name in WAYS:
                row = time_way(name, case, slow=slow.get((name, shape), 0.0))
                if row.seconds:
                    moved = batch * bytes_moved(*shape, backward=backward) / row.median
                    row = row._replace(more={"of copying": moved / copied})
                    slow[name, shape] = row.median
                yield row


def time_way(name: str, case: Case, *, slow: float) -> Row:
    """One way; `slow` are the seconds that it took for less."""
    way, backward = WAYS[name], "backward" in case[""]
    if backward and not way.differentiates:
        return Row(case, name, note="has no gradients")
    if slow > LONGEST:
        return Row(case, name, note=f"left out, as less took {slow:.0f} s")
    dmp = DMP(n_basis=case["N"], n_steps=case["steps"])

    def make():
        return way.make(dmp, draw(dmp, dims=case["D"], batch=case["batch"]), backward=backward)

    return measured(case, name, make, count=case["batch"], package=way.package)


def draw(dmp: DMP, *, dims: int, batch: int) -> integrators.Inputs:
    """Random movements."""
    shapes = ((dims,), (dims, dmp.n_basis), (dims,), (dims,), (dmp.n_steps + 1, dims))
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return integrators.Inputs(
        *(jax.random.normal(key, (batch, *shape)) for key, shape in zip(keys, shapes, strict=True))
    )


def bytes_moved(dims: int, n_basis: int, n_steps: int, *, backward: bool) -> int:
    """That one movement cannot do without: parameters in and the path out, and with gradients the
    path's in and the parameters' out."""
    return 4 * dims * (3 + n_basis + n_steps + 1) * (2 if backward else 1)


def bandwidth() -> float:
    """Bytes per second of reading and writing that the device reaches when it copies."""
    numbers = jnp.ones(LARGE)
    negate = jax.jit(jnp.negative)
    (*_, best) = sorted(seconds(lambda: negate(numbers)), reverse=True)
    return 2 * numbers.nbytes / best


SUITE = Suite(
    title="Movements of a primitive",
    unit="paths/s",
    ours=("matrix", "scan"),
    measure=measure,
    more={"of copying": "{:.0%}"},
)
