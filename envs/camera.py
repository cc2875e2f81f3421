"""Pictures of a simulation, through the scene's own camera."""

import atexit
import copy
import functools
import importlib
import itertools
import os
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from envs.importing import choose_renderer, importing_mjx

with importing_mjx():
    import mujoco
    from mujoco.rendering.classic import gl_context

HEIGHT, WIDTH = 480, 640

_BALL, _LINE = mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE
_GLOW = 0.5
_EFFECTS = mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION


class NoRenderer(Exception):
    """Pictures or films cannot be made on this machine; says what to install."""


class Curve(NamedTuple):
    """A line drawn into a scene, equally thick from near and far; one point alone is a ball.

    Attributes:
      points: in the world, m, (K, 3).
      radius: as a share of the picture's height.
      color: red, green, blue and opacity, 0 to 1.
    """

    points: Float[np.ndarray, "K 3"]
    radius: float
    color: tuple[float, float, float, float]


class Detail(NamedTuple):
    """A part of the picture, as if cut out of it.

    Attributes:
      center: the point of the world in its middle, m, (3,).
      height: what it shows there from its lower to its upper edge, m.
    """

    center: Float[np.ndarray, "3"]
    height: float


class Camera:
    """Takes pictures (height, width, 3), uint8, with the model's camera `main`, or from where
    MuJoCo looks at a model without.

    Plain ones are without shadows, reflections and smooth edges, which take a processor without a
    GPU twenty times as long. Raises `NoRenderer` where there is no OpenGL. Closing it releases the
    OpenGL context.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        height: int = HEIGHT,
        width: int = WIDTH,
        plain: bool = False,
    ):
        if plain:
            model = copy.copy(model)
            model.vis.quality.offsamples = 0
        try:
            self._renderer = _renderer(model, height, width)
        except Exception as error:  # the OpenGL loaders raise what they like
            chosen = os.environ.get("MUJOCO_GL")
            raise NoRenderer(
                f"OpenGL is not available{f' with MUJOCO_GL={chosen}' if chosen else ''} "
                f"({type(error).__name__}); install libegl1 (or libosmesa6) and, if there is no "
                "display, set MUJOCO_GL=egl (or osmesa) before Python starts."
            ) from error
        if plain:
            for effect in _EFFECTS:
                self._renderer.scene.flags[effect] = 0
        self._model = model
        self._camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "main")
        self._data = mujoco.MjData(model)
        # Later than that, OpenGL is no longer there to release anything.
        self._at_exit = functools.partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def picture(
        self, physics: Any, curves: Sequence[Curve] = (), detail: Detail | None = None
    ) -> np.ndarray:
        """What `physics` looks like: anything with `qpos`, `mocap_pos` and `mocap_quat`.

        With `curves` drawn into it, or only a `detail` of it.
        """
        for name in ("qpos", "mocap_pos", "mocap_quat"):
            getattr(self._data, name)[:] = getattr(physics, name)
        mujoco.mj_fwdPosition(self._model, self._data)
        self._renderer.update_scene(self._data, camera=self._camera)
        if detail:
            self._look_at(detail)
        for curve in curves:
            self._draw(curve)
        return self._renderer.render()

    def _look_at(self, detail: Detail) -> None:
        for camera in self._renderer.scene.camera:
            ray = detail.center - camera.pos
            near = camera.frustum_near / (ray @ camera.forward)
            middle, half = near * (ray @ camera.up), near * detail.height / 2
            camera.frustum_center = near * (ray @ np.cross(camera.forward, camera.up))
            camera.frustum_bottom, camera.frustum_top = middle - half, middle + half

    def _draw(self, curve: Curve) -> None:
        scene, points = self._renderer.scene, curve.points.astype(float)
        camera = scene.camera[0]
        depth = (points[0] - camera.pos) @ camera.forward
        height = (camera.frustum_top - camera.frustum_bottom) * depth / camera.frustum_near
        radius, upright = curve.radius * height, np.eye(3).ravel()
        for start, end in itertools.pairwise(points if len(points) > 1 else (points[0], None)):
            geom = scene.geoms[scene.ngeom]
            color = np.array(curve.color, np.float32)
            mujoco.mjv_initGeom(geom, _BALL, np.full(3, radius), start, upright, color)
            if end is not None:
                mujoco.mjv_connector(geom, _LINE, radius, start, end)
            geom.emission = _GLOW
            scene.ngeom += 1

    def close(self) -> None:
        atexit.unregister(self._at_exit)
        self._renderer.close()


def _renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """A renderer that works without a display, even if MuJoCo was imported before anyone chose."""
    choose_renderer()
    importlib.reload(gl_context)
    return mujoco.Renderer(model, height, width)


def _close(reference: "weakref.ref[Camera]") -> None:
    camera = reference()
    if camera:
        camera.close()
