"""How much memory a program needs, and how much there is."""

import dataclasses
import itertools
import math
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from configs import TrainConfig
from train.rl import pictures
from train.rl.agent import RobotEnv, hyperparameters
from train.rl.evaluate import pose
from train.rl.ppo import TrainState, make_learner
from train.system.errors import UserError

SHARE = 0.8
"""Of the free memory, to be used at most."""

LARGEST_STATE, LARGEST_STEP, LARGEST_END, COPIES = 2**18, 2**13, 2**9, 24
"""Of any task: bytes of an environment, and of a step of a rollout or an episode; inputs or outputs
of a network; numbers held for each of its weights."""


def needed(env: RobotEnv, config: TrainConfig) -> tuple[int, int]:
    """Bytes that a run's state takes, and those that its update takes beside it.

    The second is an estimate: the state once more, for the physics, and four times the batch.
    """
    state = shapes(env, config)
    batch = jax.eval_shape(make_learner(env, config).collect, state)[1]
    return size(state), size(state) + 4 * size(batch)


def shapes(env: RobotEnv, config: TrainConfig) -> TrainState:
    """A run's state without its numbers."""
    init = make_learner(env, config).init
    return jax.eval_shape(init, jax.random.key(0), hyperparameters(config))


def needed_to_play(env: RobotEnv, *, num_envs: int, episodes: int) -> int:
    """Bytes that whole episodes take, `num_envs` at a time: an estimate.

    The physics, and the poses of all steps twice, while they are put into order.
    """
    state = jax.eval_shape(env.reset, jax.random.key(0))
    rounds = -(-episodes // num_envs)
    return num_envs * (size(state) + 2 * rounds * env.episode_length * size(pose(state)))


def check_run(
    env: RobotEnv, config: TrainConfig, *, mesh: Mesh | None = None, resumed: bool = False
) -> None:
    """Raises `UserError` where memory does not suffice for a run, before anything is compiled.

    Args:
      mesh: the devices; None for one.
      resumed: its number of environments is given.
    """
    devices = list(mesh.devices.flat) if mesh else jax.devices()[:1]
    here = [device for device in devices if device.process_index == jax.process_index()]
    room, part = free(here), len(here) / len(devices)
    if part * bound(config) <= SHARE * room:
        return
    state, work = needed(env, config)
    batch = (work - state) / config.num_envs

    def bytes_of(num_envs: int) -> int:
        state = size(shapes(env, dataclasses.replace(config, num_envs=num_envs)))
        play = needed_to_play(env, num_envs=num_envs, episodes=num_envs)
        return int(part * (state + max(state + num_envs * batch, play)))

    unit, wanted = config.ppo.minibatches * len(devices), config.num_envs
    check(bytes_of, wanted, option="--num-envs", room=room, unit=unit, can_change=not resumed)
    option, episodes = "--eval-episodes", config.eval_episodes
    check_play(env, num_envs=wanted, episodes=episodes, option=option, given=resumed)


def bound(config: TrainConfig) -> int:
    """Bytes that a run takes at most: a real one takes ten times less, but to trace a learner, as
    `needed` does, takes seconds."""
    widths = (LARGEST_END, *config.network.hidden, LARGEST_END)
    weights = sum(inputs * outputs for inputs, outputs in itertools.pairwise(widths))
    steps = config.num_envs * config.rollout_steps + config.eval_episodes * config.episode_length
    return 4 * COPIES * weights + LARGEST_STATE * config.num_envs + LARGEST_STEP * steps


def check_play(
    env: RobotEnv, *, num_envs: int, episodes: int, option: str = "--episodes", given: bool = True
) -> None:
    """Raises `UserError` where memory does not suffice for episodes, `num_envs` at a time.

    Args:
      option: that says how many episodes.
      given: the number of environments cannot be changed any more.
    """

    def of_environments(count: int) -> int:
        return needed_to_play(env, num_envs=count, episodes=count)

    def of_episodes(count: int) -> int:
        return needed_to_play(env, num_envs=num_envs, episodes=count)

    check(of_environments, num_envs, option="--num-envs", can_change=not given)
    check(of_episodes, episodes, option=option, unit=num_envs)


def check_steps(env: RobotEnv, *, num_envs: int) -> None:
    """Raises `UserError` where memory does not suffice for a step of so many environments, whose
    states there are twice then."""
    each = 2 * size(jax.eval_shape(env.reset, jax.random.key(0)))
    check(lambda count: count * each, num_envs, option="--num-envs")


def check_members(env: RobotEnv, config: TrainConfig, members: int) -> None:
    """Raises `UserError` where memory does not suffice for so many members of a sweep at once."""
    each = sum(needed(env, config))
    check(lambda count: count * each, members, option="--members")


def check_recording(env: RobotEnv, *, num_envs: int, episodes: int, images: bool) -> None:
    """Raises `UserError` where memory does not suffice for demonstrations.

    Args:
      num_envs: played at a time.
      images: whether pictures are taken, too.
    """
    state = jax.eval_shape(env.reset, jax.random.key(0))
    told = size((state.obs, jax.eval_shape(env.robot_state, state))) + 4 * env.action_size
    each = env.episode_length * (2 * told + 3 * pictures.SIZE**2 * images)

    def bytes_of(count: int) -> int:
        return count * each + needed_to_play(env, num_envs=num_envs, episodes=count)

    check(bytes_of, episodes, option="--episodes", room=free([]), unit=num_envs)


def check(
    needed: Callable[[int], int],
    count: int,
    *,
    option: str,
    room: int | None = None,
    unit: int = 1,
    can_change: bool = True,
) -> None:
    """Raises `UserError` where memory does not suffice, with what it would suffice for.

    Args:
      needed: bytes for a count, which grow evenly with it.
      count: what is wanted.
      option: that says so.
      room: free bytes; by default those of one device.
      unit: of which a smaller count has to be a multiple.
      can_change: whether the count can be lowered.
    """
    room = free(jax.devices()[:1]) if room is None else room
    wanted, usable = needed(count), SHARE * room
    if wanted <= usable:
        return
    remedy = "free some, or go to a machine that has more"
    if can_change and count > unit and (least := needed(unit)) <= usable:
        each = (wanted - least) / (count - unit)
        fits = unit + int((usable - least) / each)
        remedy = f"{option} {fits - fits % unit} would fit"
    raise UserError(
        f"Memory does not suffice for {option} {count}: about {wanted / 1e6:,.0f} MB of "
        f"{room / 1e6:,.0f} MB free, of which 80 % may be used; {remedy}."
    )


def size(tree: PyTree) -> int:
    """Bytes of a tree of arrays or their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free(devices: Sequence[Any]) -> int:
    """Bytes that can be had on all devices together; for CPUs those of the machine, or less where
    the process, or the container that it is in, has a limit."""
    known = [stats for device in devices if (stats := device.memory_stats())]
    if known:
        return sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in known)
    return max(min(of_machine(), of_process(), *of_groups(Path("/"))), 0)


def of_machine() -> int:
    """Bytes that the system would give."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def of_process() -> int:
    """Bytes that are left of what `ulimit -v` allows."""
    limit, statm = resource.getrlimit(resource.RLIMIT_AS)[0], Path("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not statm.exists():
        return sys.maxsize
    return limit - os.sysconf("SC_PAGE_SIZE") * int(statm.read_text().split()[0])


def of_groups(root: Path) -> list[int]:
    """Bytes that are left in each control group that limits this process, as containers do.

    Args:
      root: of the file system.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for _, controllers, name in (line.split(":", 2) for line in lines):
        if not controllers:
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = mount / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(mount):
                left += of_group(folder, *names)
    return left


def of_group(folder: Path, limit: str, used: str) -> list[int]:
    """Bytes that are left in a control group, which may take back the files that it has cached."""
    try:
        allowed, taken = (folder / limit).read_text(), int((folder / used).read_text())
        statistics = dict(map(str.split, (folder / "memory.stat").read_text().splitlines()))
    except (OSError, ValueError):
        return []
    if not allowed.strip().isdecimal():  # "max"
        return []
    cached = statistics.get("total_inactive_file") or statistics.get("inactive_file", "0")
    return [int(allowed) - taken + int(cached)]
