"""What a study trains: a cell for each task, policy and variant, with every seed."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from configs import HEADS, PRESETS, TrainConfig, preset
from configs.fields import replaced, settings
from envs.outside import short
from train.runs.checks import check_known, check_policy
from train.sweeps.grid import Axis, Grid, Range, lay_out, shown
from train.system.errors import UserError

EVALUATIONS = 16
"""Of a run, about, at equal distances; one takes as many environment steps as two updates."""

OPTIONS = {"task": "tasks", "policy": "policies", "steps": "steps"}
"""Settings that options of their own say, by the names of these."""


def cells_of(
    *,
    tasks: Sequence[str],
    policies: Sequence[str],
    axes: Mapping[str, Axis],
    seeds: int,
    steps: int | None,
    paper: bool = False,
) -> tuple[Grid, ...]:
    """The cells, policy after policy; each is a sweep over nothing but seeds.

    Args:
      tasks: by name.
      policies: by name; the first is the one that the others are compared with.
      axes: settings that make variants of every policy, and their values.
      seeds: of each cell, from 0 on.
      steps: of each run; by default as many as the presets say.
      paper: start from the paper's settings in place of ours for task and policy.

    Raises:
      UserError: there is nothing to compare seeds of, or a run could not be trained.
    """
    for name, values in (("tasks", tasks), ("policies", policies)):
        if not values or len({*values}) < len(values):
            raise UserError(f"--{name} is {' '.join(values)!r}; name each once, at least one.")
    for task in tasks:
        check_known(task, PRESETS)
        for policy in policies:
            check_policy(dataclasses.replace(PRESETS[task], policy=policy), HEADS)
    lists = {name: listed(name, values) for name, values in axes.items()}
    if seeds < 2:
        raise UserError(f"--seeds is {seeds}; give at least 2, whose spread is the interval.")
    if steps is not None and steps < 1:
        raise UserError(f"--steps is {steps}; it must be greater than 0.")
    given = {} if steps is None else {"steps": steps}
    found = []
    for policy in policies:
        for values in itertools.product(*lists.values()):
            variant = dict(zip(lists, values, strict=True))
            for task in tasks:
                base = evaluated_often(replaced(preset(task, policy, paper=paper), variant | given))
                each = {name: (value,) for name, value in variant.items()}
                found.append(lay_out([base], each, seeds=seeds, samples=None))
    return tuple(found)


def listed(name: str, values: Axis) -> tuple[Any, ...]:
    """The values of a setting; raises `UserError` where they are no list, or said otherwise."""
    if name in OPTIONS:
        raise UserError(f"--over.{name} is no variant; give --{OPTIONS[name]}.")
    if isinstance(values, Range):
        raise UserError(
            f"--over.{name} is a range, which a study cannot draw from; list the values."
        )
    return values


def evaluated_often(config: TrainConfig) -> TrainConfig:
    """A configuration with an evaluation every so many updates that a run has `EVALUATIONS`."""
    return dataclasses.replace(config, eval_every=max(1, config.updates // EVALUATIONS))


def name_of(cell: Grid) -> str:
    """Of a cell's folder, without its number."""
    config = cast(TrainConfig, cell.members[0].config)
    every = settings(config)
    words = [f"{name}{short(shown(every[name]))}" for name in cell.over]
    return "-".join((short(config.task), short(config.policy), *words))
