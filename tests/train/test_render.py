import subprocess

import imageio
import imageio_ffmpeg
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs import camera
from train import render
from train.evaluate import Outcome, Pose


@pytest.fixture(scope="module")
def still():
    """Two episodes of three frames at the push environment's start."""
    env = envs.make("push")
    data = mujoco.MjData(env.mj_model)

    def frames(array):
        return jnp.broadcast_to(jnp.asarray(array), (2, 3, *array.shape))

    poses = Pose(frames(data.qpos), frames(data.mocap_pos), frames(data.mocap_quat))
    nothing = jnp.zeros(2)
    return env, Outcome(nothing, nothing, nothing, nothing > 0, poses)


def test_a_film_shows_robot_puck_and_goal(still, tmp_path):
    env, outcome = still
    path = tmp_path / "video.mp4"
    try:
        render.film(env, outcome, path, episodes=5)
    except render.NoRenderer as problem:
        pytest.skip(str(problem))
    assert list(tmp_path.iterdir()) == [path]
    decoder = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-pix_fmt", "rgb24", "-f", "rawvideo"]
    raw = subprocess.run([*decoder, "-"], capture_output=True, check=True)
    assert f"{round(1 / env.dt)} fps" in raw.stderr.decode()
    frames = np.frombuffer(raw.stdout, np.uint8).astype(int)
    frames = frames.reshape(6, camera.HEIGHT, camera.WIDTH, 3)
    red, green, blue = np.moveaxis(frames[0], -1, 0)
    assert np.sum((blue > 100) & (blue > red + 60) & (blue > green + 15)) > 200
    assert np.sum((green > 60) & (green > red + 30) & (green > blue + 30)) > 500
    assert np.sum((red > 40) & (red > green + 30) & (red > blue + 30)) > 2000


@pytest.mark.parametrize(
    ("name", "shape"), [("strip.png", (300, 1600, 3)), ("film.gif", (4, 240, 320, 3))]
)
def test_pictures_for_pages(still, tmp_path, name, shape):
    """Of 2 episodes of 3 steps at 20 Hz, a GIF keeps every second picture."""
    path = tmp_path / name
    try:
        render.film(*still, path)
    except render.NoRenderer as problem:
        pytest.skip(str(problem))
    assert list(tmp_path.iterdir()) == [path]
    pictures = imageio.v3.imread(path)
    assert pictures.shape in (shape, (1, *shape[1:]))  # equal frames of a GIF become one
    assert pictures.std() > 20


def test_without_opengl_one_sentence_says_what_to_install(still, tmp_path, monkeypatch):
    def no_renderer(*_):
        raise RuntimeError("no EGL")

    monkeypatch.setattr(mujoco, "Renderer", no_renderer)
    with pytest.raises(render.NoRenderer, match="install libegl1"):
        render.film(*still, tmp_path / "video.mp4")
    assert not list(tmp_path.iterdir())
