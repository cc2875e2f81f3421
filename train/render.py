"""Videos and pictures of episodes."""

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import imageio
import jax
import numpy as np

from envs.base import MjxEnv
from envs.camera import Camera, NoRenderer
from train.evaluate import Outcome, Pose

__all__ = ["FORMATS", "NoRenderer", "film"]

FORMATS = (".mp4", ".gif", ".png")
VIDEO_FPS = 30

# A GIF is made for web pages, a strip shows the first episode in a few moments side by side.
GIF_FPS = 10
GIF_SIZE = {"height": 240, "width": 320}
STRIP_MOMENTS = 4
STRIP_SIZE = {"height": 300, "width": 400}


def film(env: MjxEnv, outcome: Outcome, path: Path, *, episodes: int = 4) -> None:
    """Writes the first episodes of an outcome to an mp4 or gif, or moments of the first to a png.

    Raises:
      NoRenderer: no OpenGL here.
    """
    poses = jax.device_get(outcome.poses)
    episodes = min(episodes, outcome.success.shape[0])
    partial = path.with_suffix(".partial" + path.suffix)
    length = poses.qpos.shape[1]
    if path.suffix == ".png":
        moments = np.linspace(0, length - 1, STRIP_MOMENTS).round().astype(int)
        with closing(Camera(env.mj_model, **STRIP_SIZE)) as camera:
            strip = [camera.picture(frame) for frame in frames(poses, 1, moments)]
        imageio.v3.imwrite(partial, np.concatenate(strip, axis=1))
    elif path.suffix == ".gif":
        every = stride(env, GIF_FPS)
        moments = np.arange(0, length, every)
        with closing(Camera(env.mj_model, **GIF_SIZE)) as camera:
            pictures = [camera.picture(frame) for frame in frames(poses, episodes, moments)]
        imageio.v3.imwrite(partial, pictures, duration=1000 * every * env.dt, loop=0)
    else:
        # ffmpeg runs in a child process, which uses nothing of JAX.
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
        every = stride(env, VIDEO_FPS)
        with closing(Camera(env.mj_model)) as camera:
            video: Any = imageio.get_writer(partial, "ffmpeg", fps=1 / (every * env.dt))
            with video:
                for frame in frames(poses, episodes, np.arange(0, length, every)):
                    video.append_data(camera.picture(frame))
    partial.replace(path)


def stride(env: MjxEnv, fps: float) -> int:
    """Steps from one picture to the next, for about `fps` pictures per simulated second."""
    return max(1, round(1 / (env.dt * fps)))


def frames(poses: Pose, episodes: int, moments: np.ndarray) -> Iterator[Pose]:
    """Single poses, at the given steps of one episode after the other."""
    for episode in range(episodes):
        for moment in moments:
            yield jax.tree.map(lambda leaf, at=(episode, moment): leaf[at], poses)
