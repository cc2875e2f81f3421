"""What a sweep trains: all combinations of the swept values, or random draws, with every seed."""

import difflib
import itertools
import math
import random
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from configs import AnyConfig, Config, TrainConfig
from configs.fields import BOOKKEEPING, SWEPT, declared, marked, replaced
from train.runs.checks import TYPES, check_any, check_idle
from train.system.errors import UserError

SHORT = {"lr": "learning_rate"}
"""Names that everybody uses for a setting, beside its own."""

MOST_MEMBERS = 4096


@dataclass(frozen=True)
class Range:
    """Numbers between two, drawn evenly or, if `log`, evenly over their orders of magnitude."""

    low: float
    high: float
    log: bool

    def draw(self, source: random.Random) -> float:
        """One of them."""
        low, high = (math.log(end) if self.log else end for end in (self.low, self.high))
        value = source.uniform(low, high)
        short = float(f"{math.exp(value) if self.log else value:.6g}")
        return min(max(short, self.low), self.high)


Axis = tuple[Any, ...] | Range
"""The values a setting takes in a sweep, or where they are drawn from."""


def setting_name(word: str, kind: type[Config] = TrainConfig) -> str:
    """The setting of a kind of configuration that --over.WORD means.

    Raises:
      UserError: there is none, or it cannot be swept.
    """
    name = word.replace("-", "_")
    name = SHORT.get(name, name)
    known, bookkeeping = declared(kind), marked(kind, BOOKKEEPING)
    if name not in known:
        swept = [setting for setting in known if setting not in ("seed", *bookkeeping)]
        nearest = difflib.get_close_matches(name, (*swept, *SHORT), n=1, cutoff=0.0)[0]
        within = [setting for setting in swept if name in setting]
        raise UserError(
            f"There is no setting '{word}' to sweep; did you mean "
            f"'--over.{SHORT.get(nearest, within[0] if within else nearest)}'?"
        )
    if name == "seed":
        raise UserError(f"--over.{word}: seed is not swept; give --seeds for several.")
    if name in bookkeeping:
        raise UserError(
            f"--over.{word}: {name} is not swept; it does not change what is learned; give it "
            "once, for all."
        )
    return name


def axis(name: str, words: Sequence[str], kind: type[Config] = TrainConfig) -> Axis:
    """The values that follow --over.NAME: a list, or `uniform` or `loguniform` with two ends.

    Raises:
      UserError: there are none, one is not of the setting's type, or one comes twice.
    """
    if not words:
        raise UserError(f"--over.{name} names no values; give at least one.")
    hint = declared(kind)[name].type
    if words[0] in ("uniform", "loguniform"):
        return between(name, hint, words)
    values = tuple(value(name, hint, word) for word in words)
    for number, given in enumerate(values):
        if given in values[:number]:
            raise UserError(f"--over.{name} names {words[number]} twice; leave one out.")
    return values


def between(name: str, kind: Any, words: Sequence[str]) -> Range:
    """The range that `uniform LOW HIGH` or `loguniform LOW HIGH` means."""
    if kind is not float:
        raise UserError(
            f"--over.{name} {words[0]}: only numbers that may have decimals can be drawn from a "
            "range; list the values."
        )
    ends = [value(name, float, word) for word in words[1:]]
    log = words[0] == "loguniform"
    if len(ends) != 2 or not (0 if log else -math.inf) < ends[0] < ends[1] < math.inf:
        above = " above 0" if log else ""
        raise UserError(
            f"--over.{name} {' '.join(words)}: give {words[0]} two numbers{above}, the lower first."
        )
    return Range(ends[0], ends[1], log)


def value(name: str, kind: Any, word: str) -> Any:
    """A word as a value of a setting's type; layer widths are joined by x, as in 64x64."""
    try:
        if kind == tuple[int, ...]:
            return tuple(int(width) for width in word.split("x"))
        return kind(word) if kind in (int, float) else word
    except ValueError:
        joined = " joined by x" if kind == tuple[int, ...] else ""
        raise UserError(f"--over.{name} is {word}; it must be {TYPES[kind]}{joined}.") from None


class Member(NamedTuple):
    """One run of a sweep: its place among the combinations or draws, and all of its settings.

    Members with the same place differ in their seed.
    """

    setting: int
    config: Config


class Grid(NamedTuple):
    """The names of the swept settings, and the runs."""

    over: tuple[str, ...]
    members: tuple[Member, ...]


def lay_out(
    bases: Sequence[Config], axes: Mapping[str, Axis], *, seeds: int, samples: int | None
) -> Grid:
    """The runs of a sweep.

    Args:
      bases: what holds beside the swept settings, for every task or for every task and policy.
      axes: the swept settings and their values; `task` is not among them.
      seeds: runs for each combination, with the base's seed and those that follow.
      samples: how many combinations to draw at random, with the base's seed; all if None.

    Raises:
      UserError: nothing is swept, there are too many members, a range is to be combined, or a
        member cannot run.
    """
    tasks = tuple(dict.fromkeys(base.task for base in bases))
    over = {"task": tasks} if len(tasks) > 1 else {}
    if not (axes or over) and seeds == 1:
        raise UserError(
            "Nothing is swept; name values with --over.NAME V1 V2 ... or give --seeds, at least 2."
        )
    for option, count in (("--seeds", seeds), ("--samples", samples)):
        if count is not None and not 1 <= count <= MOST_MEMBERS:
            raise UserError(f"{option} is {count}; it must lie between 1 and {MOST_MEMBERS}.")
    every = over | dict(axes)
    count = samples or math.prod(len(v) for v in every.values() if not isinstance(v, Range))
    if count * seeds > MOST_MEMBERS:
        raise UserError(
            f"{count} combinations with {seeds} seeds are more than {MOST_MEMBERS} runs; ask for "
            "fewer."
        )
    if bases[0].seed + seeds > 2**32:
        raise UserError(
            f"--seeds {seeds} from --seed {bases[0].seed} on go beyond {2**32 - 1}; lower --seed."
        )
    combinations = grid(every) if samples is None else draws(every, samples, bases[0].seed)
    members = []
    for number, swept in enumerate(combinations):
        base = max(bases, key=lambda base: agreement(base, swept))
        for seed in range(base.seed, base.seed + seeds):
            config = replaced(base, swept | {"seed": seed})
            check_any(config)
            check_idle(config, swept)
            members.append(Member(number, config))
    return Grid(tuple(every), tuple(members))


def agreement(base: Config, swept: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a base is of the task, and of the policy, that swept values name."""
    return (
        swept.get("task", base.task) == base.task,
        isinstance(base, TrainConfig) and swept.get("policy") == base.policy,
    )


def grid(axes: Mapping[str, Axis]) -> list[dict[str, Any]]:
    """All combinations, the last axis fastest."""
    for name, values in axes.items():
        if isinstance(values, Range):
            raise UserError(f"--over.{name} is a range; say with --samples how many to draw.")
    values = typing.cast(Mapping[str, tuple], axes).values()
    return [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*values)]


def draws(axes: Mapping[str, Axis], samples: int, seed: int) -> list[dict[str, Any]]:
    """Random combinations, no two the same, and always the same for a seed.

    Raises:
      UserError: there are not so many.
    """
    source = random.Random(seed)

    def draw(values: Axis) -> Any:
        return values.draw(source) if isinstance(values, Range) else source.choice(values)

    found: dict[tuple, dict[str, Any]] = {}
    for _ in range(100 * samples):
        drawn = {name: draw(values) for name, values in axes.items()}
        found.setdefault(tuple(drawn.values()), drawn)
        if len(found) == samples:
            return list(found.values())
    raise UserError(
        f"--samples is {samples}, but no more than {len(found)} different combinations were found; "
        "ask for fewer, or name ranges or more values."
    )


def program(config: AnyConfig) -> AnyConfig:
    """What decides the compiled program of a configuration: equal for all that can share one."""
    return replaced(config, dict.fromkeys((*marked(type(config), SWEPT), "seed"), 0))


def shown(value: Any) -> str:
    """A value as it is written behind --over.NAME."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
