"""What has to be right while MuJoCo and MJX are imported."""

import contextlib
import ctypes.util
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing_mjx() -> Iterator[None]:
    """Chooses the renderer, and keeps MJX from printing that it found no Warp."""
    choose_renderer()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


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
