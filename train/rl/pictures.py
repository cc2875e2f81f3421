"""What policies that see pictures are shown: small ones of the scene."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jaxtyping import UInt8

from envs.base import MjxEnv
from envs.camera import Camera, NoRenderer
from train.rl.evaluate import Pose
from train.system.errors import UserError

SIZE = 84
"""Height and width in pixels."""


@contextmanager
def camera(env: MjxEnv) -> Iterator[Camera]:
    """The camera of an environment's scene, to be used by one thread.

    Raises:
      UserError: there is no OpenGL here.
    """
    try:
        taking = Camera(env.mj_model, height=SIZE, width=SIZE, plain=True)
    except NoRenderer as problem:
        raise UserError(f"No pictures: {problem}") from None
    try:
        yield taking
    finally:
        taking.close()


def take(camera: Camera, poses: Pose) -> UInt8[np.ndarray, "*batch 84 84 3"]:
    """A picture of every pose; `poses` has leaves (*batch, ...)."""
    poses = jax.device_get(poses)
    batch = poses.qpos.shape[:-1]
    pictures = np.empty((*batch, SIZE, SIZE, 3), np.uint8)
    for index in np.ndindex(*batch):
        pictures[index] = camera.picture(jax.tree.map(lambda leaf, i=index: leaf[i], poses))
    return pictures
