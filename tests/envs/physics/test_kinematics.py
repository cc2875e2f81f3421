"""Positions, next to those of C MuJoCo."""

from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.physics.data import put
from envs.physics.kinematics import Kinematics
from envs.physics.model import without_visuals

ASSETS = Path(envs.__file__).parent / "assets"
POSITIONS = ("xpos", "xipos", "xanchor", "xaxis", "site_xpos")

# Every kind of joint, several on a body, off its origin, and on bodies that move by themselves.
EVERYTHING = """<mujoco>
  <worldbody>
    <body name="held" mocap="true" pos="1 2 3" quat=".5 .5 .5 -.5">
      <site pos=".1 .2 .3"/>
      <body pos="0 .1 0">
        <joint type="slide" axis="1 1 0" pos=".3 0 0"/>
        <joint axis="0 1 1" pos=".1 .2 .3" ref=".4"/>
        <geom size=".1" pos=".2 .1 .1"/>
        <body pos=".1 .1 .1" quat="1 2 3 4">
          <joint type="ball" pos=".2 .1 0"/>
          <geom size=".1" pos=".1 .2 .3"/>
          <body pos="0 0 .2" quat="0 1 0 0"><site pos=".3 .2 .1"/></body>
        </body>
      </body>
    </body>
    <body pos=".4 .5 .6">
      <freejoint/>
      <geom size=".1" pos=".01 .02 .03"/>
      <body pos="1 0 0"><joint axis="1 0 0"/><geom size=".2"/><site/></body>
    </body>
  </worldbody>
</mujoco>
"""


def load(scene):
    if scene.startswith("<"):
        return mujoco.MjModel.from_xml_string(scene)
    return without_visuals(ASSETS / f"{scene}.xml")


@pytest.mark.parametrize(
    "scene", [*envs.TASKS, EVERYTHING, "<mujoco/>"], ids=lambda scene: scene[:7]
)
def test_positions_are_those_of_c_mujoco(scene, rng):
    model = load(scene)
    data = mujoco.MjData(model)
    locate = jax.jit(Kinematics(model))
    for _ in range(3):
        data.qpos[:] += rng.normal(size=model.nq)
        data.mocap_pos[:] = rng.normal(size=data.mocap_pos.shape)
        data.mocap_quat[:] = rng.normal(size=data.mocap_quat.shape)
        mujoco.mj_kinematics(model, data)
        found = locate(put(data))
        for name in POSITIONS:
            np.testing.assert_allclose(getattr(found, name), getattr(data, name), atol=1e-5)


def test_in_float64_they_are_the_same():
    with jax.enable_x64(True):
        model = load(EVERYTHING)
        data = mujoco.MjData(model)
        data.qpos[:] += np.linspace(-1, 1, model.nq)
        mujoco.mj_kinematics(model, data)
        found = Kinematics(model)(put(data))
        for name in POSITIONS:
            np.testing.assert_allclose(getattr(found, name), getattr(data, name), atol=1e-12)


def test_a_batch_is_found_as_its_members_are(rng):
    model = load("push")
    home = put(mujoco.MjData(model))
    qpos = home.qpos + jnp.asarray(rng.normal(size=(5, model.nq)), float)
    locate = Kinematics(model)
    batch = jax.vmap(lambda qpos: locate(home.replace(qpos=qpos)))(qpos)
    for index, one in enumerate(qpos):
        alone = locate(home.replace(qpos=one))
        for name in POSITIONS:
            np.testing.assert_allclose(getattr(batch, name)[index], getattr(alone, name), atol=1e-6)
