import os
import subprocess
import sys
from itertools import pairwise

import mujoco
import numpy as np
import pytest

import envs
from envs.camera import HEIGHT, WIDTH, Camera, Curve, Detail

MAGENTA = (1.0, 0.0, 1.0, 1.0)

DRAWING = """
import envs
from envs.camera import Camera, NoRenderer
import mujoco

model = envs.make("push").mj_model
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
try:
    print(Camera(model).picture(data).std())
except NoRenderer as problem:
    print(problem)
"""


@pytest.fixture(scope="module")
def model():
    return envs.make("push").mj_model


@pytest.fixture(scope="module")
def camera(model, renderer):
    camera = Camera(model)
    yield camera
    camera.close()


@pytest.fixture(scope="module")
def start(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def pixels(model, data, points):
    """Where a pinhole camera shows points (K, 3): columns and rows (K,)."""
    camera = model.camera("main").id
    axes = data.cam_xmat[camera].reshape(3, 3)
    x, y, z = ((points - data.cam_xpos[camera]) @ axes).T
    focal = HEIGHT / 2 / np.tan(np.radians(model.cam_fovy[camera]) / 2)
    return WIDTH / 2 - focal * x / z, HEIGHT / 2 + focal * y / z


def is_magenta(picture):
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red > green + 80) & (blue > green + 80)


def test_a_curve_is_drawn_where_it_is_and_nowhere_else(model, camera, start):
    points = np.array([[0.2, 0.6, 0.3], [0.2, 0.75, 0.3], [0.3, 0.75, 0.25]])
    bare = camera.picture(start)
    drawn = camera.picture(start, [Curve(points, 0.01, MAGENTA)])
    np.testing.assert_array_equal(camera.picture(start), bare)
    assert not is_magenta(bare).any()

    along = np.concatenate([np.linspace(*ends, 50) for ends in pairwise(points)])
    columns, rows = pixels(model, start, along)
    assert is_magenta(drawn)[rows.astype(int), columns.astype(int)].all()

    row, column = np.nonzero(is_magenta(drawn))
    distance = np.hypot(row[:, None] + 0.5 - rows, column[:, None] + 0.5 - columns).min(axis=1)
    assert 0.008 * HEIGHT < distance.max() < 0.012 * HEIGHT + 1


def test_one_point_is_a_ball_as_wide_from_near_as_from_far(model, camera, start):
    for point in np.array([[0.6, 1.1, 0.4], [0.1, 0.5, 0.3]]):
        ball = is_magenta(camera.picture(start, [Curve(point[None], 0.02, MAGENTA)]))
        rows, columns = np.nonzero(ball)
        column, row = pixels(model, start, point[None])
        middle = columns.mean() + 0.5, rows.mean() + 0.5
        np.testing.assert_allclose(middle, (*column, *row), atol=1)
        assert ball.sum() == pytest.approx(np.pi * (0.02 * HEIGHT) ** 2, rel=0.15)


def test_a_detail_has_its_centre_in_the_middle_and_its_height(model, camera, start):
    center = np.array([0.2, 0.7, 0.2])
    detail = Detail(center=center, height=0.4)
    upwards = start.cam_xmat[model.camera("main").id].reshape(3, 3)[:, 1]
    above = center + 0.1 * upwards
    for point, row in ((center, HEIGHT / 2), (above, HEIGHT / 4)):
        ball = is_magenta(camera.picture(start, [Curve(point[None], 0.01, MAGENTA)], detail))
        rows, columns = np.nonzero(ball)
        np.testing.assert_allclose(columns.mean() + 0.5, WIDTH / 2, atol=1)
        np.testing.assert_allclose(rows.mean() + 0.5, row, atol=2)
    wide = camera.picture(start)
    assert np.abs(camera.picture(start, (), detail).astype(int) - wide).max() > 50
    np.testing.assert_array_equal(camera.picture(start), wide)


@pytest.mark.parametrize(
    "first",
    [
        "import mujoco",
        "import mujoco, os; os.environ['MUJOCO_GL'] = ''",
        *(pytest.param(code, marks=pytest.mark.slow) for code in ("", "import envs.camera")),
    ],
)
def test_a_new_process_without_a_display_draws(camera, first):
    """Whoever imported MuJoCo, and with nobody having chosen a renderer before."""
    done = drawing(first)
    assert float(done.stdout) > 10
    assert not done.stderr


def test_a_renderer_that_is_missing_is_named_with_the_way_out():
    missing = "import mujoco, os, sys; sys.modules['mujoco.osmesa'] = None"
    done = drawing(missing + "; os.environ['MUJOCO_GL'] = 'osmesa'")
    assert "set MUJOCO_GL=egl (or osmesa) before Python starts." in done.stdout
    assert not done.stderr


def drawing(first):
    """The process in which `DRAWING` comes after `first`."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")
    }
    return subprocess.run(
        [sys.executable, "-c", first + DRAWING],
        env=environment | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
    )
