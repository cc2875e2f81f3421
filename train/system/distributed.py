"""Several processes as one: who they are, and what only one of them does.

All run the same program in step. Process 0, the lead, owns the run folder and the terminal: what it
alone does goes through `once`, so that all learn what came of it and end in the same way. With one
process everything here is as if it were not there.
"""

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NoReturn, TypeVar, cast

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from configs import TrainConfig
from train.system import devices
from train.system.errors import Interrupted, Stopped, UserError
from train.system.hardware import Hardware, check_devices

T = TypeVar("T")

LOST = ("Gloo", "NCCL", "coordination service", "heartbeat")
"""Of whom errors speak that a missing process causes."""

REMEDY = "Its checkpoints are intact: start all processes again with ndp train --resume."

ENVELOPE = 1024
"""Bytes of a small message, which is sent at once."""


@contextmanager
def joined(hardware: Hardware, config: TrainConfig) -> Iterator[Mesh | None]:
    """`join` for as long as the context lasts; a process that fails alone is abandoned."""
    try:
        yield join(hardware, config)
    except Exception as problem:
        alone = not isinstance(problem, UserError | Stopped | Interrupted | OSError)
        if not jax.distributed.is_initialized() or not alone:
            raise
        if any(hint in str(problem) for hint in LOST):
            abandon(f"Another process has ended, and with it the run. {REMEDY}")
        traceback.print_exc()
        abandon(f"This process has failed, and with it the run. {REMEDY}")


def abandon(why: str) -> NoReturn:
    """Ends this process at once with exit code 1, so that the others notice and end, too.

    In an orderly exit JAX waits for them while they wait for us, and aborts with pages of its own.
    """
    print(f"ndp: {why}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def join(hardware: Hardware, config: TrainConfig) -> Mesh | None:
    """Meets the other processes, if there are to be any, and takes all devices of all of them.

    It must come before anything is computed.

    Raises:
      UserError: nobody tells who the processes are, or the configuration does not suit the devices.
    """
    if not hardware.distributed:
        return devices.choose(hardware.devices)
    meet(hardware)
    check_devices(config, jax.device_count())
    mesh = devices.make_mesh(jax.devices())
    # Connects them now: later they would have to come to their first sum within 30 s.
    jax.block_until_ready(devices.gather(np.zeros(jax.device_count()), mesh))
    return mesh


def meet(hardware: Hardware) -> None:
    """`jax.distributed.initialize`, in a thread because it aborts us where a process is missing."""
    problems: list[Exception | None] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                coordinator_address=hardware.coordinator,
                num_processes=hardware.processes,
                process_id=hardware.process,
                initialization_timeout=hardware.join_seconds + 60,
                shutdown_timeout_seconds=30,
            )
        except Exception as problem:
            problems.append(problem)
        else:
            problems.append(None)

    thread = threading.Thread(target=initialize, daemon=True)
    thread.start()
    thread.join(hardware.join_seconds)
    if not problems:
        count, where = hardware.processes or "announced", hardware.coordinator or "the coordinator"
        abandon(
            f"Not all {count} processes met at {where} within {hardware.join_seconds} s; start "
            "those that are missing, or wait longer with --join-seconds."
        )
    if problems[0]:
        raise UserError(
            f"--distributed: {str(problems[0]).splitlines()[0]} Where neither Slurm nor a Cloud "
            "TPU tells who the processes are, give --coordinator, --processes and --process."
        )


def leads() -> bool:
    """Whether this is the process that owns the run folder and the terminal."""
    return jax.process_index() == 0


def once(work: Callable[[], T]) -> T:
    """What `work` returns or raises in the lead, which alone does it, in all processes."""
    if jax.process_count() == 1:
        return work()
    result, problem = None, None
    if leads():
        try:
            result = work()
        except Exception as raised:
            problem = raised
    result, problem = pickle.loads(tell(pickle.dumps((result, problem)) if leads() else b""))
    if problem:
        raise problem
    return result


def tell(message: bytes) -> bytes:
    """The lead's message, in all processes."""
    envelope = np.zeros(ENVELOPE, np.uint8)
    head = len(message).to_bytes(8, "little") + message[: ENVELOPE - 8]
    envelope[: len(head)] = np.frombuffer(head, np.uint8)
    received: bytes = multihost_utils.broadcast_one_to_all(envelope).tobytes()
    length = int.from_bytes(received[:8], "little")
    if length <= ENVELOPE - 8:
        return received[8 : 8 + length]
    letter = np.zeros(1 << (length - 1).bit_length(), np.uint8)  # few sizes, few programs
    letter[: len(message)] = np.frombuffer(message, np.uint8)
    return multihost_utils.broadcast_one_to_all(letter).tobytes()[:length]


@contextmanager
def in_lead(context: AbstractContextManager[T]) -> Iterator[T]:
    """Enters a context in the lead; what it gives is None elsewhere, to be used in `once` only."""
    with ExitStack() as stack:
        entered: list[T] = []
        once(lambda: entered.append(stack.enter_context(context)))
        yield entered[0] if entered else cast(Any, None)


def share(signals: list[int]) -> list[int]:
    """Adds what other processes have received to the signals received here: the same in all."""
    if jax.process_count() > 1:
        received = np.asarray(max(signals, default=0))
        highest = int(np.max(multihost_utils.process_allgather(received)))
        signals[:] = [highest] if highest else []
    return signals
