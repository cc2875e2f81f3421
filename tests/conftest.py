"""Checks every annotated call (set up before any test imports us) and keeps compiled programs."""

import os

import hypothesis
import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

beartyped = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def checked(function):
    """All but constructors: JAX also builds our pytrees around shapes and other non-arrays."""
    return function if function.__name__ == "__init__" else beartyped(function)


install_import_hook(["ndp_jax", "train", "envs"], f"{__name__}.checked")

# The same examples on every machine, however slow or busy it is.
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")


def pytest_configure() -> None:
    from train import runtime

    runtime.configure_jax()


@pytest.fixture(scope="session")
def renderer():
    """For tests that draw: without OpenGL they are skipped, but where CI is set they fail."""
    import mujoco

    from envs.camera import Camera, NoRenderer

    try:
        Camera(mujoco.MjModel.from_xml_string("<mujoco/>"), height=8, width=8).close()
    except NoRenderer as problem:
        if os.environ.get("CI"):
            pytest.fail(f"CI must draw, too. {problem}")
        pytest.skip(str(problem))
