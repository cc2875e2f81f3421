import dataclasses
import errno
import subprocess
import types

import imageio
import imageio_ffmpeg
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import probes
import pytest

import envs
from envs import camera
from ndp_jax.policies import Plan
from train.rl import film
from train.rl.agent import Inputs, hyperparameters, make_inference_fn, make_policy
from train.rl.evaluate import Outcome, Pose
from train.rl.ppo import make_learner
from train.system.errors import UserError


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


@pytest.mark.usefixtures("renderer")
def test_a_film_shows_robot_puck_and_goal(still, tmp_path):
    env, outcome = still
    path = tmp_path / "video.mp4"
    film.film(env, outcome, path)
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


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize(
    ("name", "shape"), [("strip.png", (300, 1600, 3)), ("film.gif", (4, 300, 400, 3))]
)
def test_pictures_for_pages(still, tmp_path, name, shape):
    """Of 2 episodes of 3 steps at 20 Hz, a GIF keeps every second picture."""
    path = tmp_path / name
    film.film(*still, path)
    assert list(tmp_path.iterdir()) == [path]
    pictures = imageio.v3.imread(path)
    assert pictures.shape in (shape, (1, *shape[1:]))  # equal frames of a GIF become one
    assert pictures.std() > 20


def test_without_opengl_one_sentence_says_what_to_install(still, tmp_path, monkeypatch):
    def no_renderer(*_):
        raise RuntimeError("no EGL")

    monkeypatch.setattr(mujoco, "Renderer", no_renderer)
    with pytest.raises(camera.NoRenderer, match="install libegl1"):
        film.film(*still, tmp_path / "video.mp4")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def filmed(monkeypatch):
    """What the camera was given: positions, curves and details."""
    seen = []

    class Camera:
        def __init__(self, *_, **__): ...

        def picture(self, *shot):
            seen.append(shot)
            return np.zeros((2, 2, 3), np.uint8)

        def close(self): ...

    monkeypatch.setattr(film, "Camera", Camera)
    return seen


@pytest.fixture(scope="module")
def episodes():
    """Six episodes of two queries, five steps each; qpos[0] counts 10 x episode + step."""
    env = envs.make("push", episode_length=10)
    label = 10.0 * jnp.arange(6)[:, None] + jnp.arange(1, 11)
    mocap = jnp.zeros((6, 10, 2, 3)), jnp.zeros((6, 10, 2, 4))
    zero = jnp.zeros(6)
    outcome = Outcome(zero, zero, zero, zero > 0, Pose(label[..., None], *mocap))
    start = jnp.stack([label[:, ::5] / 100] * 3, axis=-1)
    path = start[:, :, None] + jnp.linspace(0, 0.05, 41)[:, None]
    return env, outcome, Plan(path=path, goal=start + 0.1)


@pytest.mark.parametrize("policy", ["ndp", "prodmp", "ppo-multi", "ppo"])
def test_plans_lead_from_the_robot_along_its_actions(policy):
    env, config = probes.ConstantReward(), dataclasses.replace(probes.CONFIG, policy=policy)
    env.action_scale = 0.5
    state = jax.jit(make_learner(env, config).init)(jax.random.key(0), hyperparameters(config))
    state = state.replace(
        params=jax.tree.map(lambda x: x + 0.1, state.params),
        obs_stats=state.obs_stats.replace(mean=jnp.full(1, 2.0)),
    )
    keys = jax.random.split(jax.random.key(1), 3)
    inputs = Inputs(*(jax.random.normal(key, (4, 3, 1)) for key in keys))
    zero = jnp.zeros(4)
    outcome = Outcome(zero, zero, zero, zero > 0, poses=None, inputs=inputs)
    plan = film.plans_of(env, config, state, outcome)
    chunk = config.steps_per_query
    waypoints = plan.path[..., :: (plan.path.shape[-2] - 1) // chunk, :]
    inference_fn = make_inference_fn(
        make_policy(env, config, state.hyper), state.params, state.obs_stats
    )
    mean = inference_fn(inputs).mean
    np.testing.assert_array_equal(plan.path[..., 0, :], inputs.position)
    np.testing.assert_allclose(
        jnp.diff(waypoints, axis=-2) / env.action_scale, mean, atol=1e-5, rtol=1e-4
    )
    assert jnp.std(mean) > 1e-3
    assert (plan.goal is None) == (policy not in ("ndp", "prodmp"))


def test_chosen_episodes_are_filmed_in_their_order(episodes, filmed, tmp_path):
    env, outcome, _ = episodes
    film.film(env, outcome, tmp_path / "film.gif", episodes=[4, 0])
    steps = np.arange(1, 11, 2)
    labels = [float(pose.qpos[0]) for pose, *_ in filmed]
    np.testing.assert_array_equal(labels, [*(40 + steps), *steps])
    filmed.clear()
    film.film(env, outcome, tmp_path / "film.gif")
    assert [pose.qpos[0] for pose, *_ in filmed[::5]] == [1, 11, 21, 31]


def test_a_strip_takes_the_steps_it_is_told(episodes, filmed, tmp_path):
    env, outcome, _ = episodes
    film.film(env, outcome, tmp_path / "strip.png", episodes=[2, 0], at=[10, 3])
    assert [pose.qpos[0] for pose, *_ in filmed] == [30, 23]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"episodes": [0, 6]}, "no episode 6; they are counted 0 to 5"),
        ({"episodes": [-1]}, "no episode -1"),
        ({"at": [0]}, "no step 0; an episode has steps 1 to 10"),
        ({"at": [11]}, "no step 11"),
    ],
)
def test_what_is_not_there_is_not_filmed(episodes, filmed, tmp_path, chosen, message):
    env, outcome, _ = episodes
    with pytest.raises(UserError, match=message):
        film.film(env, outcome, tmp_path / "strip.png", **chosen)
    assert not filmed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("step", "query"), [(1, 0), (4, 0), (5, 1), (9, 1), (10, 1)])
def test_the_plan_that_is_followed_is_striped_by_its_steps(episodes, filmed, tmp_path, step, query):
    env, outcome, plan = episodes
    film.film(env, outcome, tmp_path / "strip.png", episodes=[3], plan=plan, at=[step])
    ((_, curves, detail),) = filmed
    assert detail is None
    *past, one, two, three, four, five, goal = curves
    path = plan.path[3, query]
    for index, stripe in enumerate((one, two, three, four, five)):
        np.testing.assert_array_equal(stripe.points, path[8 * index + np.array([0, 4, 8])])
        assert stripe.color == (one if index % 2 == 0 else two).color
    assert one.color != two.color
    np.testing.assert_array_equal(goal.points, plan.goal[3, query, None])
    assert len(past) == query
    for earlier, curve in enumerate(past):
        np.testing.assert_array_equal(curve.points, plan.path[3, earlier, [0, 20, 40]])
        assert curve.radius < one.radius


def test_a_near_picture_holds_the_whole_movement(episodes, filmed, tmp_path):
    env, outcome, plan = episodes
    film.film(env, outcome, tmp_path / "strip.png", plan=plan, near=True, at=[1, 10])
    low, high = plan.path[0, :, 0].min(axis=0), plan.path[0, :, 0].max(axis=0)
    for _, _, detail in filmed:
        np.testing.assert_allclose(detail.center, (low + high) / 2)
        assert detail.height > np.linalg.norm(high - low)


@pytest.mark.usefixtures("renderer")
def test_a_plan_is_seen_in_the_film(still, tmp_path):
    """It changes the pixels around it, and only those."""
    env, outcome = still
    corner = jnp.array([0.3, 0.9, 0.2])
    path = corner + jnp.linspace(0, 0.1, 41)[:, None] * jnp.ones((2, 3, 1, 3))
    plan = Plan(path=path, goal=corner + 0.1 * jnp.ones((2, 3, 3)))
    film.film(env, outcome, tmp_path / "without.png", at=[1])
    film.film(env, outcome, tmp_path / "with.png", at=[1], plan=plan)
    without, drawn = (
        imageio.v3.imread(tmp_path / name).astype(int) for name in ("without.png", "with.png")
    )
    red, green, blue = np.moveaxis(drawn, -1, 0)
    magenta = (red > green + 100) & (blue > green + 50)
    assert magenta.sum() > 50
    changed = np.abs(drawn - without).max(axis=-1) > 60
    assert changed[magenta].all()
    assert changed.mean() < 0.02


@pytest.mark.parametrize("program", ["/nowhere", "/bin/false", "/bin/true", None])
def test_without_ffmpeg_there_is_no_video_and_nothing_of_it_stays(tmp_path, monkeypatch, program):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    if program:
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program)
    else:
        monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", missing)
    imageio_ffmpeg._io.get_first_available_h264_encoder.cache_clear()
    pictures = (np.zeros((48, 64, 3), np.uint8) for _ in range(30))
    with pytest.raises(camera.NoRenderer, match="ffmpeg does not work .*set IMAGEIO_FFMPEG_EXE"):
        film.write_video(tmp_path / "film.mp4", pictures, fps=30)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_lack_of_ffmpeg(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(free=0)
    monkeypatch.setattr(film.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="No space left") as told, film.ffmpeg(tmp_path / "film"):
        raise OSError("[Errno 32] Broken pipe")
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(tmp_path / "film"))


def test_a_video_that_broke_at_its_end_is_no_video(tmp_path, monkeypatch):
    """ffmpeg fails without a word of it to imageio where the disk fills up with the last bytes."""
    path = tmp_path / "film.mp4"

    class Writer:
        def append_data(self, picture):
            path.write_bytes(b"begun")

        def close(self):
            pass

    monkeypatch.setattr(film.imageio, "get_writer", lambda *_, **__: Writer())
    with pytest.raises(camera.NoRenderer, match="ffmpeg does not work"):
        film.write_video(path, iter([np.zeros((48, 64, 3), np.uint8)]), fps=30)
    assert not path.exists()
