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
