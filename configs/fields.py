"""What is said about a setting at its field, and settings by their names.

    gamma: Annotated[float, SWEPT, between(0, 1)] = 0.99

Checks, sweeps, the learner's numbers and the help read it from there. The sections of a
configuration share one name space.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

Kind = TypeVar("Kind", bound=type)


class Mark(Enum):
    """What a setting is to those who run it.

    Attributes:
      SWEPT: a number in the compiled program; every other setting makes a program of its own.
      CONSTANT: of a section, whose numbers are not swept here although they are elsewhere.
      BOOKKEEPING: it does not change what is learned.
    """

    SWEPT = auto()
    CONSTANT = auto()
    BOOKKEEPING = auto()


SWEPT, CONSTANT, BOOKKEEPING = Mark


@dataclass(frozen=True)
class Bound:
    """Where a number lies, or each of a list.

    Attributes:
      demand: what a refusal says of others.
      low: the lower end.
      high: the upper end.
      open: the lower end itself is refused.
      if_used: not looked at where the setting means nothing to what learns.
    """

    demand: str
    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    if_used: bool = False

    def holds(self, value: Any) -> bool:
        numbers = value if isinstance(value, tuple) else (value,)
        return all(
            self.low <= number <= self.high and not (self.open and number == self.low)
            for number in numbers
        ) and bool(numbers)


def figure(number: float) -> str:
    """Round ones with their thousands apart."""
    return f"{number:.15g}" if number % 1000 else f"{number:,}"


POSITIVE = Bound("it must be greater than 0", low=0, open=True)
NOT_NEGATIVE = Bound("it must not be negative", low=0)


def at_most(high: float) -> Bound:
    return Bound(f"it must be at most {figure(high)}", high=high)


def between(low: float, high: float, *, if_used: bool = False) -> Bound:
    demand = f"it must lie between {figure(low)} and {figure(high)}"
    return Bound(demand, low, high, if_used=if_used)


SEED = between(0, 2**32 - 1)
WIDTHS = Bound("give one or more widths from 1 to 65536", low=1, high=65_536)


class Declared(NamedTuple):
    """What stands at a setting's field."""

    type: Any
    marks: tuple[Any, ...]

    @property
    def bounds(self) -> list[Bound]:
        return [mark for mark in self.marks if isinstance(mark, Bound)]


@functools.cache
def declared(kind: type) -> dict[str, Declared]:
    """What stands at every setting of a kind of configuration, by its name."""
    flat = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        hint = hint.__origin__ if marks else hint
        if not dataclasses.is_dataclass(hint):
            flat[name] = Declared(hint, marks)
            continue
        for inner, (type_, marked) in declared(typing.cast(type, hint)).items():
            if CONSTANT in marks:
                marked = tuple(mark for mark in marked if mark is not SWEPT)
            flat[inner] = Declared(type_, marked)
    return flat


def marked(kind: type, mark: Mark) -> tuple[str, ...]:
    """Names of the settings that are marked so."""
    return tuple(name for name, setting in declared(kind).items() if mark in setting.marks)


def tells_ranges(kind: Kind) -> Kind:
    """Lets the help of a dataclass's fields tell what they must lie between, too."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Bound) and math.inf not in (-mark.low, mark.high):
                words = f"({figure(mark.low)} to {figure(mark.high)}) (default: {{}})"
                told = tyro.conf.arg(help_behavior_hint=words.format)
                kind.__annotations__[name] = Annotated[hint, told]
    return kind


def flag(name: str) -> str:
    """The command line's spelling of a field."""
    return "--" + name.replace("_", "-")


def settings(config: object) -> dict[str, Any]:
    """All settings of a configuration by name; the sections share one name space."""
    flat = {}
    for field in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, field.name)
        flat |= settings(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return flat


def replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    """A configuration with settings changed by name, wherever they are."""
    own = {}
    for field in dataclasses.fields(config):
        current = getattr(config, field.name)
        if dataclasses.is_dataclass(current):
            own[field.name] = replaced(current, changes)
        elif field.name in changes:
            own[field.name] = changes[field.name]
    return dataclasses.replace(config, **own)
