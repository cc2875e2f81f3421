"""Video of evaluated episodes."""

import warnings
from pathlib import Path
from typing import Any

import imageio
import jax
import mujoco

from envs.base import MjxEnv
from train.evaluate import Outcome

WIDTH, HEIGHT = 640, 480


class NoRenderer(Exception):
    """OpenGL cannot be had on this machine; says what to install."""


def film(env: MjxEnv, outcome: Outcome, path: Path, *, episodes: int = 4) -> None:
    """Writes the first episodes of an outcome, one after the other, to an mp4 file.

    Raises:
      NoRenderer: no OpenGL here.
    """
    poses = jax.device_get(outcome.poses)
    episodes = min(episodes, outcome.success.shape[0])
    try:
        renderer = mujoco.Renderer(env.mj_model, HEIGHT, WIDTH)
    except Exception as error:  # the OpenGL loaders raise what they like
        raise NoRenderer(
            f"OpenGL is not available ({type(error).__name__}); "
            "install libegl1 (or libosmesa6) and run `ndp render` on the run folder."
        ) from error
    partial = path.with_suffix(".partial" + path.suffix)
    data = mujoco.MjData(env.mj_model)
    # ffmpeg runs in a child process, which uses nothing of JAX.
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    try:
        video: Any = imageio.get_writer(partial, "ffmpeg", fps=round(1 / env.dt))
        with video:
            for episode in range(episodes):
                for qpos, position, quaternion in zip(
                    poses.qpos[episode],
                    poses.mocap_pos[episode],
                    poses.mocap_quat[episode],
                    strict=True,
                ):
                    data.qpos, data.mocap_pos, data.mocap_quat = qpos, position, quaternion
                    mujoco.mj_fwdPosition(env.mj_model, data)
                    renderer.update_scene(data, camera="main")
                    video.append_data(renderer.render())
    finally:
        renderer.close()
    partial.replace(path)
