import pytest

from train import runtime


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
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setattr(
        runtime.ctypes.util, "find_library", lambda name: name if name in libraries else None
    )
    runtime.choose_renderer()
    assert runtime.os.environ.get("MUJOCO_GL") == chosen


def test_products_are_full_precision():
    runtime.configure_jax()
    import jax

    assert jax.config.jax_default_matmul_precision == "highest"


def test_versions_name_what_decides_the_numbers():
    versions = runtime.versions()
    assert {"python", "ndp-jax", "jax", "mujoco", "device"} <= versions.keys()
