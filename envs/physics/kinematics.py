"""Where everything is, found in JAX whoever steps the model."""

import mujoco
from mujoco import mjx

from envs.fusion import materialize
from envs.physics import model as models
from envs.physics.data import Data

_POSITIONS = ("xpos", "xipos", "xanchor", "xaxis", "site_xpos")


class Kinematics:
    """Makes the positions in `Data` those of its coordinates, whose quaternions become units."""

    def __init__(self, model: mujoco.MjModel):
        self._model, self._data = models.put(model)

    def __call__(self, data: Data) -> Data:
        model = models.with_mocap_bodies_placed(self._model, data.mocap_pos)
        placed = self._data.replace(
            qpos=data.qpos, mocap_pos=data.mocap_pos, mocap_quat=data.mocap_quat
        )
        found = materialize(lambda placed: mjx.kinematics(model, placed))(placed)
        return data.replace(**{name: getattr(found, name) for name in ("qpos", *_POSITIONS)})
