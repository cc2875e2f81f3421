"""Checks every annotated call (set up before any test imports us) and keeps compiled programs."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

beartyped = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def checked(function):
    """All but constructors: JAX also builds our pytrees around shapes and other non-arrays."""
    return function if function.__name__ == "__init__" else beartyped(function)


sys.path.insert(0, str(Path(__file__).parent))
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
    from train.system import runtime

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


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A folder with exported policies that move the hand somewhere: `push`, and `soccer`."""
    import jax
    import jax.numpy as jnp

    from ndp_jax import DMP, normalize, save_policy
    from ndp_jax.policies import ActorCritic, PrimitiveHead

    policy = ActorCritic(
        head=PrimitiveHead(
            dmp=DMP(n_basis=6, n_steps=40, alpha=5.0),
            chunk=5,
            action_size=3,
            duration=0.25,
            action_scale=0.01,
            goal_scale=0.05,
            weight_scale=50.0,
        ),
        hidden=(8,),
    )
    params = policy.init(jax.random.key(0), jnp.zeros(9), jnp.zeros(3), jnp.zeros(3))
    params = jax.tree.map(lambda x: x + jax.random.normal(jax.random.key(1), x.shape), params)
    folder = tmp_path_factory.mktemp("policies")
    for task in ("push", "soccer"):
        about = {
            "task": task,
            "action_scale": 0.01,
            "action_limit": 1.0,
            "config": {"episode_length": 12},
        }
        save_policy(folder / task, policy, params, normalize.init((9,)), about=about)
    return folder
