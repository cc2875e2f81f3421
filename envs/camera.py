"""Pictures of a simulation, through the scene's own camera."""

from typing import Any

import mujoco
import numpy as np

HEIGHT, WIDTH = 480, 640


class NoRenderer(Exception):
    """OpenGL cannot be had on this machine; says what to install."""


class Camera:
    """Takes pictures (height, width, 3), uint8, with the model's camera `main`.

    Raises `NoRenderer` where there is no OpenGL. Closing it releases the OpenGL context.
    """

    def __init__(self, model: mujoco.MjModel, *, height: int = HEIGHT, width: int = WIDTH):
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:  # the OpenGL loaders raise what they like
            raise NoRenderer(
                f"OpenGL is not available ({type(error).__name__}); install libegl1 (or "
                "libosmesa6), and set MUJOCO_GL=egl (or osmesa) if there is no display."
            ) from error
        self._model = model
        self._data = mujoco.MjData(model)

    def picture(self, physics: Any) -> np.ndarray:
        """What `physics` looks like: anything with `qpos`, `mocap_pos` and `mocap_quat`."""
        for name in ("qpos", "mocap_pos", "mocap_quat"):
            getattr(self._data, name)[:] = getattr(physics, name)
        mujoco.mj_fwdPosition(self._model, self._data)
        self._renderer.update_scene(self._data, camera="main")
        return self._renderer.render()

    def close(self) -> None:
        self._renderer.close()
