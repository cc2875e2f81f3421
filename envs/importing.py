"""What has to be right while MuJoCo and MJX are imported."""

import contextlib
import ctypes.util
import importlib
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing_mjx() -> Iterator[None]:
    """Chooses the renderer, and keeps MJX from printing that it found no Warp."""
    choose_renderer()
    import_mujoco()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def import_mujoco() -> None:
    """Imports MuJoCo, without its renderer where MUJOCO_GL names one that cannot be had.

    MuJoCo itself fails then, although most of what uses it draws nothing; `camera.Camera` says so
    to those who do draw.
    """
    wanted = os.environ.get("MUJOCO_GL")
    try:
        importlib.import_module("mujoco")
    except Exception:
        if not wanted:
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "mujoco"]:
            del sys.modules[name]
        os.environ["MUJOCO_GL"] = "disable"
        try:
            importlib.import_module("mujoco")
        finally:
            os.environ["MUJOCO_GL"] = wanted


def choose_renderer() -> None:
    """Selects headless OpenGL for MuJoCo where there is no display and the user chose nothing.

    MuJoCo reads the choice when it is imported and fails there if the library is missing, so only
    a library that is present is chosen. `envs.camera` makes it read the choice once more.
    """
    headless = sys.platform == "linux" and not os.environ.get("DISPLAY")
    if headless and not os.environ.get("MUJOCO_GL"):
        for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if ctypes.util.find_library(library):
                os.environ["MUJOCO_GL"] = backend
                return
