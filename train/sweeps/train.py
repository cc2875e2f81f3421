"""A sweep: many runs that one program trains together, each with a run folder of its own."""

import json
import math
import resource
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from rich.console import Console

from configs import TrainConfig
from envs.limits import largest_batch
from train.rl import memory
from train.rl.agent import RobotEnv, hyperparameters, make_env
from train.rl.evaluate import batch_keys, held_out_key, summarize, validation_key
from train.rl.population import Population, Programs, make_programs
from train.rl.ppo import row
from train.rl.train import evaluation_due, measured
from train.runs import checkpoint, loop, physics, run
from train.runs.checks import is_foreign
from train.sweeps import figures, table
from train.sweeps.folder import Run, Sweep, fresh, settled
from train.sweeps.grid import Grid
from train.system.devices import choose
from train.system.errors import UserError
from train.system.hardware import divisors
from train.system.hints import hint
from train.system.runtime import versions

OTHER_FILES = 256
"""Open at once, beside one for each member."""

HALVINGS = 3
"""At most: after an eighth, a quarter and a half of the updates."""

Group = Sequence[Run]
"""Runs that one compiled program trains."""


def sweep(grid: Grid, *, out: Path | None, halving: bool, devices: int, console: Console) -> Sweep:
    """Trains all members, evaluates them and writes tables and figures.

    Args:
      grid: the members.
      out: folder to create; by default the first free runs/TASK-sweep.
      halving: whether the worse half of the settings stops after 1/8, 1/4 and 1/2 of the updates.
      devices: over how many devices the members are spread.
      console: for the progress.

    Raises:
      UserError: the folder cannot be used, or memory does not suffice for the members.
      Stopped: the disk or the memory is full.
      Interrupted: SIGINT or SIGTERM arrived; a checkpoint has been written.
    """
    choose(devices)  # before a folder is made
    created = fresh(settled(grid), out, halving=halving, versions=versions())
    return complete(created, devices=devices, console=console)


def complete(found: Sweep, *, devices: int, console: Console, again: str | None = None) -> Sweep:
    """Brings a sweep from wherever it is to its end.

    Args:
      again: the command that goes on after an interruption, if it is not of the sweep alone.

    Raises:
      UserError, Stopped, Interrupted: as `sweep`.
    """
    console.print(f"Sweep folder {found.folder}", soft_wrap=True)
    ours = [member.config for member in found.runs if not is_foreign(member.config.task)]
    for line in dict.fromkeys(map(physics.line, ours)):
        console.print(line)
    again = again or hint("sweep", "--resume", found.folder)
    needs = f"{len(found.runs)} members with {found.runs[0].config.num_envs} environments each"
    with loop.held(found.folder, needs=needs, again=again):
        allow_files(max(map(len, found.groups)))
        unfinished = [
            (number, group, found.folder / "groups" / str(number))
            for number, group in enumerate(found.groups)
            if not all((member.folder / "evaluation.json").exists() for member in group)
        ]
        plans = {}
        for number, group, home in unfinished:
            plans[number] = plan = settle(group, home, halving=found.halving, devices=devices)
            which = f"Group {number + 1} of {len(found.groups)}"
            console.print(f"{which}: {plan.sentence}", soft_wrap=True)
        for number, group, home in unfinished:
            if len(unfinished) > 1:
                console.print(f"Group {number + 1}")
            console.print("Compiling (up to a minute the first time, seconds afterwards) ...")
            work = Together(group, plans[number], make_env(group[0].config), devices=devices)
            learn = partial(loop.train, work, home, console)
            population = loop.interruptible(learn, again=again)
            finish(group, work.programs, population, console)
        table.write(found)
        figures.draw(found)
        shutil.rmtree(found.folder / "groups", ignore_errors=True)
    return found


def allow_files(members: int) -> None:
    """Raises the limit of open files to what the members' TensorBoard events need.

    Raises:
      UserError: the system does not allow it.
    """
    needed = members + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"{members} members need {needed} open files and the system allows {hard} (ulimit -n); "
            "name fewer values."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Plan(NamedTuple):
    """How a group is trained.

    Attributes:
      slots: how many members at once.
      rungs: updates after which the worse half of the settings stops.
      sentence: for people.
    """

    slots: int
    rungs: tuple[int, ...]
    sentence: str


def settle(group: Group, folder: Path, *, halving: bool, devices: int) -> Plan:
    """The plan of a group: made once, and kept in its folder for those who continue.

    Raises:
      UserError: memory does not suffice, or the plan does not suit so many devices.
    """
    path = folder / "plan.json"
    if path.exists():
        slots, rungs, sentence = json.loads(path.read_text())
        if slots % devices:
            raise UserError(
                f"--devices {devices} cannot share evenly the {slots} members that this sweep "
                f"trains at once; use one of {divisors(slots, up_to=slots)}."
            )
        return Plan(slots, tuple(rungs), sentence)
    plan = make_plan(group, make_env(group[0].config), halving=halving, devices=devices)
    folder.mkdir(parents=True, exist_ok=True)
    run.write_json(path, plan)
    return plan


def make_plan(group: Group, env: RobotEnv, *, halving: bool, devices: int) -> Plan:
    """As many members at once as memory suffices for; where losers stop, an eighth of all.

    Members of one setting stop together, so they must be updated together.

    Raises:
      UserError: memory does not suffice.
    """
    config, members = group[0].config, len(group)
    seeds = sum(member.setting == group[0].setting for member in group)
    unit = math.lcm(seeds, devices) if halving else devices
    state, work = memory.needed(env, config)
    room = memory.free(jax.devices()[:devices])
    limit = largest_batch(config.task)

    def needed(slots: int) -> int:
        return -(-members // slots) * slots * state + slots * work

    def fits(slots: int) -> bool:
        small = not limit or slots // devices * config.num_envs <= limit
        return small and needed(slots) <= memory.SHARE * room

    blocks = 2**HALVINGS if halving else 1
    while True:
        slots = -(-members // (blocks * unit)) * unit
        if fits(slots) or slots == unit:
            break
        blocks += 1
    blocks = -(-members // slots)
    megabytes = f"about {needed(slots) / 1e6:,.0f} MB of {room / 1e6:,.0f} MB free"
    if not fits(slots):
        raise UserError(
            f"Memory does not suffice for {members} members with --num-envs {config.num_envs}: "
            f"{megabytes}, of which 80 % may be used; lower --num-envs or name fewer values."
        )
    count = min(HALVINGS, math.ceil(math.log2(blocks))) if halving else 0
    rungs = sorted({config.updates >> halved for halved in range(1, count + 1)} - {0})
    at_once = f"{slots} at once" if slots < members else "all at once"
    return Plan(slots, tuple(rungs), f"{members} members, {at_once}, {megabytes}")


class Together(loop.Work[TrainConfig, Population]):
    """A group, to the host's loop; its members end as runs of their own.

    Attributes:
      programs: that train it.
    """

    max_skipped = math.inf  # the others go on

    def __init__(self, group: Group, plan: Plan, env: RobotEnv, *, devices: int) -> None:
        configs = [member.config for member in group]
        self.config = configs[0]
        self.members = [member.folder for member in group]
        self.end = self.config.updates * self.config.steps_per_update
        self.measured_first = bool(self.config.eval_every)
        self.programs = make_programs(env, configs, slots=plan.slots, mesh=choose(devices))
        self._group, self._plan, self._env = group, plan, env
        self._effort = work(plan, self.config, -(-len(group) // plan.slots))

    def init(self) -> Population:
        return self.programs.init()

    def go_on(self, state: Population) -> Population:
        for seat, member in seats_of(state):
            if member < len(self._group):
                expected = hyperparameters(self._group[member].config)
                differs = jax.tree.map(lambda a, b, s=seat: a[s] != b, state.states.hyper, expected)
                if any(jax.tree.leaves(differs)):
                    raise UserError(
                        f"{self.members[member]} has other settings than the checkpoint of its "
                        "group was made with; put its config.json back."
                    )
        return state

    def place(self, state: Population) -> Population:
        return self.programs.place(state)

    def stands(self, state: Population, steps: int) -> dict[int, int]:
        updates = np.asarray(state.states.updates)
        return {
            member: int(updates[seat]) * self.config.steps_per_update
            for seat, member in seats_of(state)
            if member < len(self._group)
        }

    def standing(self, steps: int) -> str:
        return f"Continuing at {steps:,} steps of each member"

    def update(self, state: Population, steps: int) -> tuple[Population, int, loop.Rows]:
        seats = seated(state, members=len(self._group))
        state, numbers = self.programs.update(state)
        numbers = jax.device_get(numbers)
        steps += self.config.steps_per_update
        ended = steps // self.config.num_envs >= self._env.episode_length
        rows = {
            member: row({name: values[seat] for name, values in numbers.items()}, ended=ended)
            for member, seat in seats.items()
        }
        return state, steps, rows

    def due(self, steps: int) -> bool:
        rung = steps // self.config.steps_per_update in self._plan.rungs
        return evaluation_due(self.config, steps) or rung

    def evaluate(self, state: Population) -> loop.Rows:
        """As a run is evaluated, all that are still trained."""
        of_all = partial(play, self._group, self.programs, state, validation_key)
        episodes = self.config.num_envs
        means = of_all(episodes=episodes)
        exploring = of_all(episodes=episodes, stochastic=True)
        return {member: measured(means[member], exploring[member]) for member in means}

    def select(self, state: Population, steps: int, evaluations: loop.Rows) -> Population:
        """The better half of the settings, at a rung."""
        if steps // self.config.steps_per_update not in self._plan.rungs:
            return state
        order = ranking(self._group, state, evaluations)
        return self.programs.keep(state, order, -(-int(state.active) // 2))

    def learning(self, rows: loop.Rows, evaluations: loop.Rows) -> str:
        return learning(rows, evaluations)

    def effort(self, steps: int) -> int:
        return self._effort[steps // self.config.steps_per_update]


def seats_of(population: Population) -> list[tuple[tuple[int, int], int]]:
    """Every slot and who sits in it."""
    return [((i, j), int(member)) for (i, j), member in np.ndenumerate(population.member)]


def seated(population: Population, *, members: int) -> dict[int, tuple[int, int]]:
    """Where the members sit that are still trained."""
    active = int(population.active)
    return {
        member: seat
        for seat, member in seats_of(population)
        if member < members and seat[0] < active
    }


def play(
    group: Group,
    programs: Programs,
    population: Population,
    key: Callable[[int], PRNGKeyArray],
    *,
    episodes: int,
    stochastic: bool = False,
) -> dict[int, dict[str, float]]:
    """Evaluates the members that are still trained, each on its own episodes.

    Args:
      key: of the episodes, from the member's seed.
    """
    num_envs = group[0].config.num_envs
    sitting = [group[min(member, len(group) - 1)].config for _, member in seats_of(population)]
    keys = [
        batch_keys(key(config.seed), episodes=episodes, num_envs=num_envs) for config in sitting
    ]
    shape = population.member.shape
    outcomes = [
        programs.evaluate(population, jax.numpy.stack(batch).reshape(shape), stochastic)
        for batch in zip(*keys, strict=True)
    ]
    outcome = jax.tree.map(
        lambda *parts: np.concatenate(parts, axis=-1)[..., :episodes], *jax.device_get(outcomes)
    )
    seats = seated(population, members=len(group))
    return {
        member: summarize(jax.tree.map(lambda leaf, seat=seat: leaf[seat], outcome))
        for member, seat in sorted(seats.items())
    }


def ranking(
    group: Group, population: Population, evaluations: dict[int, dict[str, float]]
) -> np.ndarray:
    """All slots, those of the best setting first: by mean success over its seeds, then return."""
    scores: dict[int, list[tuple[float, float]]] = {}
    for member, evaluation in evaluations.items():
        score = evaluation.get("success", 0.0), evaluation["returns"]
        scores.setdefault(group[member].setting, []).append(score)
    means = {setting: tuple(np.mean(each, axis=0)) for setting, each in scores.items()}

    def place(slot: int) -> tuple:
        member = slots[slot]
        if member not in evaluations:
            return (1, 0.0, 0.0, 0, slot)
        setting = group[member].setting
        success, returns = means[setting]
        return (0, -success, -returns, setting, slot)

    slots = [member for _, member in seats_of(population)]
    return np.array(sorted(range(len(slots)), key=place))


def work(plan: Plan, config: TrainConfig, blocks: int) -> list[int]:
    """Environment steps of the whole group up to each update."""
    done = [0]
    for update in range(1, config.updates + 1):
        done.append(done[-1] + blocks * plan.slots * config.steps_per_update)
        blocks = -(-blocks // 2) if update in plan.rungs else blocks
    return done


def learning(told: dict[int, dict[str, float]], evaluations: dict[int, dict[str, float]]) -> str:
    """How well the members learn that are still trained."""
    measure = "success" if all("success" in row for row in told.values()) else "returns"
    found = [row[measure] for row in told.values()]
    faults = sum(row["broken_episodes"] + row["skipped_minibatches"] for row in told.values())
    figures = [
        f"{len(told)} members",
        f"{measure} median {np.median(found):,.2f}",
        f"best {max(found):,.2f}",
        f"nan {faults:.0f}",
    ]
    if evaluations:
        best = max(evaluation[measure] for evaluation in evaluations.values())
        figures.append(f"evaluated best {best:,.2f}")
    return "  ".join(figures)


def finish(group: Group, programs: Programs, population: Population, console: Console) -> None:
    """Evaluates all members and leaves each with its state and evaluation, as a run of its own."""
    config = group[0].config
    console.print(f"Evaluating {config.eval_episodes} deterministic episodes of each member ...")
    slots = np.arange(population.member.size)
    population = programs.keep(population, slots, population.member.shape[0])
    summaries = play(group, programs, population, held_out_key, episodes=config.eval_episodes)
    for seat, number in seats_of(population):
        if number >= len(group):
            continue
        member = group[number]
        state = jax.tree.map(lambda leaf, seat=seat: leaf[seat], population.states)
        steps = int(state.updates) * config.steps_per_update
        with checkpoint.open_manager(member.folder) as manager:
            if manager.latest_step() != steps:
                checkpoint.save(manager, state, config=member.config, steps=steps)
        run.write_json(member.folder / "evaluation.json", summaries[number])
