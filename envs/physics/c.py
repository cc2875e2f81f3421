"""C MuJoCo: the physics on the threads of a CPU, called by the JAX program."""

import copy
import math
from typing import Any, NamedTuple

import jax
import mujoco
import numpy as np
from jax.experimental.buffer_callback import buffer_callback
from jaxtyping import Array, Float
from mujoco.rollout import Rollout

from envs.physics.data import Data

_CONTROL = int(mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_MOCAP_POS)

# Parts of a batch for each thread, so that none waits long for the last.
_PARTS = 4

# MuJoCo's own bound (mjMAXVAL), beyond which it warns.
_MAX_VALUE = 1e10


class Crew(NamedTuple):
    """Threads, and the memory each of them works in."""

    rollout: Rollout
    data: list[mujoco.MjData]


class C:
    """Steps a batch with C MuJoCo in float64, on `threads` threads of its own.

    A control step of a whole batch is one callback. It works in XLA's own buffers and makes no JAX
    array, whose transfer might wait for the very thread that the callback runs on.

    Everything that a step starts from is in `Data`. The contact solver starts from rest: it
    converges from there as fast as from where it ended before. So neither threads nor batch nor
    what was stepped before change a bit.

    Numbers that are not finite, and simulations that MuJoCo warns about, come out as NaN.
    """

    def __init__(self, model: mujoco.MjModel, *, substeps: int, threads: int):
        self._model = copy.copy(model)
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self._substeps = substeps
        self._progress = np.arange(1, substeps + 1)[:, None] / substeps
        self._parts = {
            "time": slice(1),
            "qpos": slice(1, 1 + model.nq),
            "qvel": slice(1 + model.nq, None),
        }
        self.threads = threads
        # Devices of one process step at the same time, each with a crew.
        self._idle: list[Crew] = []

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_idle": []}

    def step(self, before: Data, commanded: Data) -> dict[str, Array]:
        def each(field: Array) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((self._substeps, *field.shape), field.dtype)

        state = {"time": before.time, "qpos": before.qpos, "qvel": before.qvel}
        call = buffer_callback(self._call, jax.tree.map(each, state), vmap_method="broadcast_all")
        return call(state, before.ctrl, commanded.ctrl, commanded.mocap_pos)

    def _call(self, context: Any, out: dict[str, Any], state: dict[str, Any], *inputs: Any) -> None:
        """The step of a batch with any number of leading axes."""
        time, qpos, qvel = (np.asarray(state[name]) for name in ("time", "qpos", "qvel"))
        batch = math.prod(time.shape)
        start = np.concatenate(
            [field.reshape(batch, -1) for field in (time, qpos, qvel)], axis=1, dtype=float
        )
        ctrl, target, mocap = (
            np.asarray(field).astype(float).reshape(batch, 1, -1) for field in inputs
        )
        mocap = np.broadcast_to(mocap, (batch, self._substeps, mocap.shape[-1]))
        control = np.concatenate([ctrl + self._progress * (target - ctrl), mocap], axis=-1)
        path = self._roll(start, control)
        for name, part in self._parts.items():
            field = np.asarray(out[name])
            field[...] = path[..., part].reshape(field.shape)

    def _roll(
        self, start: Float[np.ndarray, "B state"], control: Float[np.ndarray, "B S control"]
    ) -> Float[np.ndarray, "B S state"]:
        """The states after each sub-step."""
        path = np.empty((*control.shape[:2], start.shape[1]))
        if _is_sound(start).all() and _is_sound(control).all():
            self._work(start, control, path)
        else:
            sound = _is_sound(start).all(axis=1) & _is_sound(control).all(axis=(1, 2))
            kept = path[sound]
            if sound.any():
                self._work(start[sound], control[sound], kept)
            path[:], path[sound] = np.nan, kept
        # After a warning MuJoCo's rollout repeats the state, whose time stands still.
        passed = path[:, -1, 0] - start[:, 0]
        stood = passed < (self._substeps - 0.5) * self._model.opt.timestep
        if stood.any():
            path[stood] = np.nan
        return path

    def _work(self, start: np.ndarray, control: np.ndarray, path: np.ndarray) -> None:
        batch = len(start)
        try:
            crew = self._idle.pop()
        except IndexError:
            crew = self._hire()
        crew.rollout.rollout(
            [self._model] * batch,
            crew.data,
            start,
            control,
            control_spec=_CONTROL,
            nstep=self._substeps,
            state=path,
            chunk_size=max(1, batch // (_PARTS * self.threads)),
            skip_checks=True,
        )
        self._idle.append(crew)

    def _hire(self) -> Crew:
        threads = self.threads if self.threads > 1 else 0  # 0 is the caller's own
        data = [mujoco.MjData(self._model) for _ in range(self.threads)]
        return Crew(Rollout(nthread=threads), data)


def make(model: mujoco.MjModel, *, substeps: int, threads: int) -> C:
    """`substeps` of `model`'s time steps in C."""
    return C(model, substeps=substeps, threads=threads)


def _is_sound(numbers: np.ndarray) -> np.ndarray:
    return np.abs(numbers) < _MAX_VALUE
