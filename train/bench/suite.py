"""What a suite is: rows of measurements, of several ways to do the same thing."""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from train.bench.sizes import Sizes
from train.system.errors import UserError

LEAST, MOST, PATIENCE = 3, 50, 1.0
"""Calls that are timed, and seconds after which none is begun unless they are too few."""

Case = dict[str, Any]
"""What is done: numbers by what they count, and words. The last number is the size of a call."""


class Row(NamedTuple):
    """One way of doing something.

    Attributes:
      case: what is done.
      way: how, or by whom.
      seconds: of every timed call; empty where there is none.
      units: that a call counts, as the suite names them.
      more: other numbers, by the names of their columns.
      note: why nothing was measured.
    """

    case: Case
    way: str
    seconds: tuple[float, ...] = ()
    units: int = 1
    more: Mapping[str, float] = MappingProxyType({})
    note: str = ""

    @property
    def quartiles(self) -> np.ndarray:
        """Seconds of a call: lower quartile, median and upper quartile, (3,)."""
        return np.quantile(self.seconds, (0.25, 0.5, 0.75))

    @property
    def speed(self) -> float:
        """Units per second, by the median."""
        return self.units / self.quartiles[1]


class Suite(NamedTuple):
    """One table.

    Attributes:
      title: what is measured.
      unit: that calls are counted in; none where only their time matters.
      ours: the ways that the others are compared with.
      measure: sizes to rows, of which those of the same case follow each other.
      more: the other columns, by their names, and how their numbers are written.
      about: what the reader must know of the columns.
    """

    title: str
    unit: str
    ours: tuple[str, ...]
    measure: Callable[[Sizes], Iterator[Row]]
    more: Mapping[str, str] = MappingProxyType({})
    about: str = ""


def attempt(case: Case, way: str, measure: Callable[[], Row], *, package: str = "") -> Row:
    """A row, or why there is none: a package that is missing, or what was raised."""
    if package and not importlib.util.find_spec(package.replace("-", "_")):
        return Row(case, way, note=f"not installed: pip install {package}")
    try:
        return measure()
    except (UserError, ImportError, MemoryError, RuntimeError) as problem:
        return Row(case, way, note=str(problem).partition("\n")[0] or type(problem).__name__)


def seconds(run: Callable[[], object]) -> tuple[float, ...]:
    """Wall times of calls, after one that is not counted."""
    jax.block_until_ready(run())
    times: list[float] = []
    while not suffice(times):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return tuple(times)


def suffice(times: Sequence[float]) -> bool:
    """Whether so many calls have been timed that no more are needed."""
    return len(times) >= MOST or (len(times) >= LEAST and sum(times) >= PATIENCE)


def compiled(fn: Callable, *args: Any, donate: bool = False) -> tuple[Callable, float]:
    """A function compiled for arguments, of which it may use up the first, and the seconds."""
    began = time.perf_counter()
    program = jax.jit(fn, donate_argnums=0 if donate else ()).lower(*args).compile()
    return program, time.perf_counter() - began


def accelerated() -> bool:
    """Whether JAX computes on something else than a CPU."""
    return jax.default_backend() != "cpu"


def machine() -> str:
    """What is measured on."""
    device = jax.devices()[0].device_kind
    return f"{device}, {os.cpu_count()} CPU cores, jax {jax.__version__}"
