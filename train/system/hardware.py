"""What shall compute a run."""

import dataclasses

from configs import TrainConfig
from configs.fields import flag
from train.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What computes a run; another one may continue it."""

    devices: int = 1
    """Devices of this machine to spread the environments over."""
    distributed: bool = False
    """Spread them over all devices of several processes, each started with this option."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where neither Slurm nor a Cloud TPU tells."""
    processes: int | None = None
    """How many processes there are, where that is not told either."""
    process: int | None = None
    """Which of them this one is, from 0 on."""
    join_seconds: int = 300
    """How long the processes wait for each other at the start."""


def check_hardware(hardware: Hardware, config: TrainConfig) -> None:
    """Refuses hardware that cannot be described so, or that this run cannot be spread over."""
    for name in ("devices", "processes", "join_seconds"):
        value = getattr(hardware, name)
        if value is not None and value < 1:
            raise UserError(f"{flag(name)} is {value}; it must be at least 1.")
    check_devices(config, hardware.devices)
    told = {name: getattr(hardware, name) for name in ("coordinator", "processes", "process")}
    missing = [flag(name) for name, value in told.items() if value is None]
    given = [flag(name) for name in told if flag(name) not in missing]
    if hardware.distributed and hardware.devices > 1:
        raise UserError("Leave out --devices: --distributed takes all devices of all processes.")
    if given and not hardware.distributed:
        raise UserError(f"{given[0]} needs --distributed.")
    if given and missing:
        raise UserError(f"{given[0]} needs {' and '.join(missing)}, too.")
    if not given:
        return
    host, _, port = str(hardware.coordinator).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator is {hardware.coordinator}; it must be HOST:PORT.")
    if hardware.process not in range(hardware.processes or 0):
        raise UserError(
            f"--process is {hardware.process}; with --processes {hardware.processes} it must lie "
            f"between 0 and {(hardware.processes or 0) - 1}."
        )


def check_devices(config: TrainConfig, devices: int) -> None:
    """That each of the devices gets as many environments, and as much of each minibatch."""
    if config.num_envs % devices:
        raise UserError(
            f"--num-envs {config.num_envs} cannot be spread evenly over {devices} devices; use a "
            f"multiple of {devices}."
        )
    batch = config.rollout_steps // config.steps_per_query * config.num_envs
    minibatch = batch // config.ppo.minibatches
    if minibatch % devices:
        raise UserError(
            f"--minibatches {config.ppo.minibatches} makes minibatches of {minibatch} queries, "
            f"which cannot be spread evenly over {devices} devices; use one of "
            f"{divisors(batch // devices, up_to=64)}."
        )


def divisors(number: int, *, up_to: int) -> str:
    """The divisors of a number, for a sentence."""
    return ", ".join(str(n) for n in range(1, up_to + 1) if number % n == 0)
