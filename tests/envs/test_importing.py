import os
import subprocess
import sys

import pytest

from envs import importing


@pytest.mark.parametrize(
    ("environment", "libraries", "chosen"),
    [
        ({}, {"EGL", "OSMesa"}, "egl"),
        ({}, {"OSMesa"}, "osmesa"),
        ({}, set(), None),
        ({"MUJOCO_GL": "glfw"}, {"EGL"}, "glfw"),
        ({"DISPLAY": ":0"}, {"EGL"}, None),
    ],
)
def test_the_renderer_is_chosen_only_where_nobody_else_did(
    monkeypatch, environment, libraries, chosen
):
    for name in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(importing.sys, "platform", "linux")
    monkeypatch.setattr(
        importing.ctypes.util, "find_library", lambda name: name if name in libraries else None
    )
    importing.choose_renderer()
    assert importing.os.environ.get("MUJOCO_GL") == chosen


def test_environments_work_without_the_renderer_that_was_named():
    script = """
import jax
import envs
env = envs.make("push")
jax.eval_shape(env.reset, jax.random.key(0))
from envs.camera import Camera, NoRenderer
try:
    Camera(env.mj_model)
except NoRenderer as problem:
    print(problem)
"""
    command, environment = [sys.executable, "-c", script], os.environ | {"MUJOCO_GL": "foo"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OpenGL is not available with MUJOCO_GL=foo (")
