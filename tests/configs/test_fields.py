from dataclasses import dataclass, field
from typing import Annotated

import pytest

from configs import CloneConfig, DigitsConfig, TrainConfig
from configs.fields import (
    BOOKKEEPING,
    CONSTANT,
    NOT_NEGATIVE,
    POSITIVE,
    SWEPT,
    WIDTHS,
    at_most,
    between,
    declared,
    marked,
    settings,
)
from ndp_jax.dmp import ALPHA_RANGE


@dataclass(frozen=True)
class Spring:
    stiffness: Annotated[float, SWEPT, POSITIVE] = 1.0
    coils: int = 3


@dataclass(frozen=True)
class Robot:
    seed: int = 0
    spring: Spring = field(default_factory=Spring)


@dataclass(frozen=True)
class Statue:
    polish: Annotated[float, BOOKKEEPING] = 0.5
    spring: Annotated[Spring, CONSTANT] = field(default_factory=Spring)


def test_what_stands_at_a_field_is_known_by_its_name_from_every_section():
    assert list(declared(Robot)) == ["seed", "stiffness", "coils"]
    assert declared(Robot)["stiffness"] == (float, (SWEPT, POSITIVE))
    assert declared(Robot)["coils"] == (int, ())
    assert marked(Robot, SWEPT) == ("stiffness",)


def test_the_numbers_of_a_constant_section_are_bounded_but_not_swept():
    assert declared(Statue)["stiffness"].bounds == [POSITIVE]
    assert (marked(Statue, SWEPT), marked(Statue, BOOKKEEPING)) == ((), ("polish",))


@pytest.mark.parametrize(
    ("bound", "good", "bad"),
    [
        (POSITIVE, (1, 1e-300, 10**400), (0, 0.0, -1)),
        (NOT_NEGATIVE, (0, 0.0, 7), (-1e-300,)),
        (at_most(20), (20, -1e300), (20.5, 10**400)),
        (between(0, 1), (0, 0.5, 1), (-1e-9, 1 + 1e-9)),
        (WIDTHS, ((1,), (65_536, 8)), ((), (0,), (8, 65_537))),
    ],
)
def test_bounds_hold_of_what_lies_within(bound, good, bad):
    assert all(bound.holds(value) for value in good)
    assert not any(bound.holds(value) for value in bad)


@pytest.mark.parametrize(
    ("bound", "demand"),
    [
        (POSITIVE, "it must be greater than 0"),
        (at_most(1_000_000), "it must be at most 1,000,000"),
        (at_most(2**31 - 1), "it must be at most 2147483647"),
        (between(1e-6, 100.0), "it must lie between 1e-06 and 100"),
        (between(-10, 0.5), "it must lie between -10 and 0.5"),
    ],
)
def test_bounds_say_what_they_demand(bound, demand):
    assert bound.demand == demand


@pytest.mark.parametrize("kind", [TrainConfig, DigitsConfig, CloneConfig])
def test_every_number_has_a_bound_that_its_default_keeps(kind):
    defaults = settings(kind(task="push"))
    for name, setting in declared(kind).items():
        if setting.type in (int, float, tuple[int, ...]):
            assert setting.bounds, name
            assert all(bound.holds(defaults[name]) for bound in setting.bounds), name


@pytest.mark.parametrize("kind", [TrainConfig, DigitsConfig, CloneConfig])
def test_an_alpha_that_passes_is_one_that_the_primitive_takes_as_it_is(kind):
    ends = [(bound.low, bound.high) for bound in declared(kind)["alpha"].bounds]
    assert ALPHA_RANGE in ends
