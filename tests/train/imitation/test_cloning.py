"""Clones: which examples demonstrations make, what the loss compares, and a run end to end."""

import dataclasses
import json
from functools import partial

import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sketch import Sketch

import envs
from configs import CloneConfig, Descent, Primitive
from envs.camera import Camera
from envs.push import Push
from ndp_jax import DMP, load_policy, normalize
from train.cli import main
from train.imitation import cloning, demonstrations
from train.imitation import train as imitation
from train.imitation.demonstrations import Demonstrations
from train.rl import film
from train.rl.agent import Inputs, make_env
from train.runs import metrics
from train.system.errors import UserError

EPISODES, LENGTH, CHUNK = 4, 10, 5
CONFIG = CloneConfig(
    task="push",
    episodes=EPISODES,
    episode_length=LENGTH,
    chunk=CHUNK,
    hidden=(8,),
    descent=Descent(steps=3, batch=8),
)


@pytest.fixture(scope="module")
def env():
    return make_env(CONFIG)


@pytest.fixture(scope="module")
def shown():
    """Demonstrations whose every number tells its episode and step."""
    place = 100.0 * np.arange(EPISODES)[:, None] + np.arange(LENGTH)

    def tell(size):
        return np.repeat(place[..., None], size, axis=-1).astype(np.float32)

    images = np.zeros((EPISODES, LENGTH, 84, 84, 3), np.uint8)
    images += (10 * np.arange(EPISODES)[:, None] + np.arange(LENGTH)).astype(np.uint8)[
        ..., None, None, None
    ]
    return Demonstrations(
        observation=tell(9),
        position=tell(3) / 1000,
        velocity=tell(3) / 1000,
        action=tell(3),
        images=images,
        task="push",
        played=EPISODES,
    )


def test_the_primitive_is_the_configured_one(env):
    told = {"n_basis": 4, "kernel": "linear", "forcing": "unscaled", "alpha": 7.0, "alpha_x": 2.0}
    primitive = Primitive(**told, substeps=3)
    head = cloning.make_clone(env, dataclasses.replace(CONFIG, primitive=primitive)).head
    assert head.dmp == DMP(**told, n_steps=3 * CHUNK)


def test_some_demonstrations_are_held_out_and_all_others_learned():
    for episodes, expected in ((2, (1, 1)), (4, (3, 1)), (200, (180, 20))):
        assert cloning.split(dataclasses.replace(CONFIG, episodes=episodes)) == expected


@pytest.mark.parametrize("chunk", [1, 5, 10])
@pytest.mark.parametrize("pictured", [False, True])
def test_examples_are_every_step_that_a_chunk_follows(shown, chunk, pictured):
    config = dataclasses.replace(CONFIG, chunk=chunk)
    seen = shown if pictured else shown._replace(images=None)
    found = cloning.examples(config, seen, slice(1, 3))
    last = LENGTH - chunk + 1
    assert len(found.action) == cloning.queries(config, 2) == 2 * last
    places = [100 * episode + step for episode in (1, 2) for step in range(last)]
    expected = np.array(places)[:, None] + np.arange(chunk)
    np.testing.assert_array_equal(found.action, np.repeat(expected[..., None], 3, axis=-1))
    np.testing.assert_allclose(1000 * found.inputs.position[:, 0], places, rtol=1e-5)
    np.testing.assert_allclose(1000 * found.inputs.velocity[:, 2], places, rtol=1e-5)
    observation = found.inputs.observation
    if pictured:
        assert observation.shape == (2 * last, 84, 84, 3) and observation.dtype == jnp.uint8
        levels = [10 * episode + step for episode in (1, 2) for step in range(last)]
        np.testing.assert_array_equal(observation[:, 40, 7, 1], levels)
    else:
        np.testing.assert_array_equal(observation[:, 8], places)


@pytest.mark.parametrize("seen", ["state", "image"])
@pytest.mark.parametrize("policy", ["ndp", "nn"])
def test_the_loss_is_the_mean_square_of_the_policys_mistakes(env, shown, policy, seen):
    config = dataclasses.replace(CONFIG, policy=policy, observation=seen)
    given = shown if seen == "image" else shown._replace(images=None)
    batch = cloning.examples(config, given, slice(0, 1))
    init = jax.jit(lambda key: cloning.init(env, config, key, batch.inputs))
    variables = init(jax.random.key(0))
    loss = jax.jit(cloning.make_loss(env, config))
    inputs = batch.inputs
    if seen == "image":
        inputs = inputs.replace(observation=inputs.observation / 255)
        np.testing.assert_allclose(variables["statistics"].mean, 2.5 / 255, rtol=1e-3)
    else:
        np.testing.assert_allclose(variables["statistics"].mean, 2.5, rtol=1e-3)
    mean = cloning.make_answer(env, config)(variables, inputs).mean
    assert mean.shape == batch.action.shape == (6, CHUNK, 3)
    key = jax.random.key(1)
    for offset in (0.0, 0.5):
        answered = batch.replace(action=mean + offset)
        np.testing.assert_allclose(loss(variables, answered, key), offset**2, atol=1e-5)


def test_a_blank_is_of_the_shapes_of_examples(env, shown):
    for seen, given in (("state", shown._replace(images=None)), ("image", shown)):
        config = dataclasses.replace(CONFIG, observation=seen)
        blank = cloning.blank(env, config)
        found = cloning.examples(config, given, slice(0, 1)).inputs
        same = jax.tree.map(
            lambda a, b: (a.shape[1:], a.dtype) == (b.shape[1:], b.dtype), blank, found
        )
        assert all(jax.tree.leaves(same))


def test_pictures_are_seen_as_what_differs_from_the_mean_one():
    images = np.full((3000, 6, 6, 3), 200, np.uint8)
    images[:, :2] = np.random.default_rng(0).integers(0, 100, (3000, 2, 6, 3))
    pictures = jnp.asarray(images / 255.0, jnp.float32)
    seen = normalize.normalize(cloning.picture_statistics(jnp.asarray(images)), pictures)
    np.testing.assert_allclose(seen[:, 2:], 0, atol=1e-3)
    np.testing.assert_allclose(jnp.mean(seen, axis=0), 0, atol=0.2)
    np.testing.assert_allclose(jnp.mean(jnp.square(seen)), 1, rtol=0.05)


def test_the_critic_and_the_noise_are_not_learned(env, shown):
    config = CONFIG
    batch = cloning.examples(config, shown._replace(images=None), slice(0, 1))
    init = jax.jit(lambda key: cloning.init(env, config, key, batch.inputs))
    variables = init(jax.random.key(0))
    loss = cloning.make_loss(env, config)
    gradient = jax.jit(
        jax.grad(lambda params: loss(variables | {"params": params}, batch, jax.random.key(0)))
    )(variables["params"])
    moved = {name: any(map(np.any, jax.tree.leaves(part))) for name, part in gradient.items()}
    assert moved == {"actor": True, "critic": False, "head": True, "log_std": False, "value": False}


def test_files_that_do_not_fit_are_refused(shown, tmp_path):
    file = tmp_path / "push.npz"
    demonstrations.save(file, shown._replace(images=None))
    config = dataclasses.replace(CONFIG, demos=str(file))
    np.testing.assert_array_equal(cloning.load(config).action, shown.action)
    for change, sentence in (
        ({"episodes": 5}, "holds 4 demonstrations; lower --episodes 5 or record more"),
        ({"episode_length": 20}, "have 10 steps; give --episode-length 10"),
        ({"observation": "image"}, "holds no pictures"),
        ({"task": "throw"}, "demonstrates push, not throw"),
    ):
        with pytest.raises(UserError, match=sentence):
            cloning.load(dataclasses.replace(config, **change))


def test_the_script_demonstrates_what_is_configured(shown, monkeypatch):
    asked = []

    def note(config):
        asked.append(config)
        return shown

    monkeypatch.setattr(demonstrations, "scripted", note)
    cloning.load(CONFIG)
    assert asked == [CONFIG]


@pytest.fixture(params=[Sketch, pytest.param(Push, marks=pytest.mark.slow)])
def push(request, monkeypatch):
    """What push is, filmed in little."""
    monkeypatch.setattr(envs, "make", lambda task, **options: request.param(**options))
    monkeypatch.setattr(film, "Camera", partial(Camera, height=48, width=64, plain=True))


@pytest.mark.usefixtures("push", "renderer")
@pytest.mark.parametrize("policy", ["ndp", pytest.param("nn", marks=pytest.mark.slow)])
def test_a_clone_of_push_end_to_end(tmp_path, monkeypatch, policy):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "run"
    sizes = ("--episodes", "10", "--num-envs", "8", "--eval-episodes", "1", "--hidden", "16")
    steps = ("--steps", "200", "--eval-every", "100", "--batch", "64", "--policy", policy)
    assert main(["imitate", "push", *sizes, *steps, "--out", str(folder)]) == 0
    loss = metrics.read(folder)["loss"]
    assert metrics.read(folder)["steps"] == [100, 200] and loss[1] < loss[0]
    found = json.loads((folder / "evaluation.json").read_text())
    assert (found["episodes"], found["broken"]) == (1, 0)
    assert found["success"] == (found["distance"] <= 0.07)
    error = metrics.read(folder, metrics.EVALUATIONS)["error"]
    assert error[-1] < error[0]
    assert imageio_ffmpeg.count_frames_and_secs(folder / "video.mp4")[0] == 150
    assert main(["evaluate", str(folder)]) == 0
    assert json.loads((folder / "evaluation.json").read_text()) == found
    assert main(["export", str(folder)]) == 0
    loaded = load_policy(folder / "policy.msgpack")
    config, variables = imitation.restored(folder, "latest")
    seen = jax.random.normal(jax.random.key(0), (2, 15))
    inputs = Inputs(seen[:, :9], seen[:, 9:12], 0.1 * seen[:, 12:])
    expected = cloning.make_answer(envs.make("push"), config)(variables, inputs).mean
    assert jnp.std(expected) > 0.1
    np.testing.assert_allclose(loaded(seen[:, :9], 0.1 * seen[:, 12:]), expected, atol=1e-3)
    assert loaded.about["task"] == "push"
