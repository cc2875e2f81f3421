import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sketch import Sketch

import envs
from configs import IMITATED, PRESETS, Network
from envs import camera
from envs.push import Push
from ndp_jax import load_policy, normalize, save_policy
from train.cli import main
from train.commands.parsing import parse
from train.imitation import demonstrations
from train.imitation.demonstrations import TRAJECTORIES, load, record, save
from train.rl import evaluate, pictures
from train.rl.agent import hyperparameters, make_policy
from train.rl.controllers import make_controller
from train.rl.ppo import make_learner
from train.system.errors import UserError

EPISODES = 3


@pytest.fixture(scope="module", params=[Sketch, pytest.param(Push, marks=pytest.mark.slow)])
def env(request):
    return request.param(episode_length=150)


def scripted(env):
    return make_controller("scripted", "push", env)


@pytest.fixture(scope="module")
def pushes(env):
    return record(env, "push", scripted(env), episodes=EPISODES, seed=0, noise=0.3)


@pytest.fixture
def pictured(pushes):
    images = np.random.default_rng(0).integers(0, 256, (EPISODES, 150, 84, 84, 3), np.uint8)
    return pushes._replace(images=images)


@pytest.fixture
def file(tmp_path, pushes):
    save(tmp_path / "demos" / "push.npz", pushes)
    return tmp_path / "demos" / "push.npz"


def test_shapes(pushes):
    shapes = [getattr(pushes, name).shape for name in TRAJECTORIES]
    assert shapes == [(EPISODES, 150, size) for size in (9, 3, 3, 3)]
    assert {getattr(pushes, name).dtype for name in TRAJECTORIES} == {np.dtype(np.float32)}
    assert EPISODES <= pushes.played <= 2 * EPISODES


def test_actions_are_the_demonstrators_own_answer_to_what_it_saw(pushes):
    """Without noise, and within the limit."""
    state = evaluate.State(None, pushes.observation, np.zeros(()), np.zeros(()), {}, {})
    wanted = np.clip(envs.push.scripted(state), -1, 1)
    np.testing.assert_allclose(pushes.action, wanted, atol=1e-4)


def test_what_was_executed_was_noisy(env, pushes):
    """The hand moves by action and noise; the drive follows late, hence the slack."""
    moved = np.diff(pushes.position, axis=1)[:, 5:]
    wanted = env.action_scale * pushes.action[:, 5:-1]
    assert 0.1 < np.std(moved - wanted) / env.action_scale < 0.9
    assert np.ptp(pushes.position[:, 0], axis=0).max() < 1e-3


def test_demonstrations_end_at_the_goal(pushes):
    puck, goal = pushes.observation[:, -1, 3:6], pushes.observation[:, -1, 6:]
    assert (np.linalg.norm((puck - goal)[:, :2], axis=1) < 0.07 + 0.01).all()


def test_keys_are_those_of_nothing_else():
    makers = (evaluate.held_out_key, evaluate.validation_key, evaluate.demonstration_key)
    assert len({jax.random.key_data(make(0)).tobytes() for make in makers}) == 3


def test_every_task_has_noise():
    assert all(0 < demonstrations.noise_of(task) < 1 for task in envs.TASKS)


def nobody(key, state):
    raise AssertionError("is never asked")


def outcome(rate):
    """Stands for episodes of which a share succeeds, each known by its number in its batch."""

    def batch(key, noise):
        number = jnp.arange(demonstrations.BATCH)
        array = jnp.broadcast_to(number[:, None, None] * 1.0, (demonstrations.BATCH, 5, 3))
        poses = evaluate.Pose(array, array, array)
        inputs = demonstrations.Inputs(observation=array, position=array, velocity=array)
        return demonstrations.Played(inputs, array, poses, number % round(1 / rate) == 2)

    return lambda *_: batch


def test_a_trained_policy_demonstrates_its_means(tmp_path):
    """Those of the policy that is exported."""
    env, config = Sketch(), replace(PRESETS["push"], num_envs=4, network=Network(hidden=(8,)))
    state = jax.jit(make_learner(env, config).init)(jax.random.key(0), hyperparameters(config))
    state = state.replace(
        params=jax.tree.map(lambda x: x + 0.3, state.params),
        obs_stats=normalize.update(state.obs_stats, state.episodes.state.obs),
    )
    moved = jax.jit(jax.vmap(env.step))(state.episodes.state, jnp.full((4, 3), 0.5))
    shown, _ = jax.jit(demonstrations.policy(env, config, state))(jax.random.key(1), moved)

    policy = make_policy(env, config, state.hyper)
    save_policy(tmp_path / "policy", policy, state.params, state.obs_stats, about={})
    expected = load_policy(tmp_path / "policy")(moved.obs, moved.pipeline_state.velocity)
    assert shown.shape == (4, 5, 3) and jnp.std(shown) > 0.1
    np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-4)


def test_an_episode_that_fails_or_breaks_is_no_success():
    """Of three demonstrators one does nothing, and one breaks when it has succeeded."""
    env, who = Sketch(), jnp.arange(demonstrations.BATCH) % 3
    push = scripted(env)

    def demonstrator(key, state):
        breaks = (who == 1) & (state.metrics["success"] > 0)
        action = jnp.where((who == 0)[:, None, None], 0, push(key, state)[0])
        return jnp.where(breaks[:, None, None], jnp.nan, action), None

    batch = jax.jit(demonstrations.make_batch(env, demonstrator))
    np.testing.assert_array_equal(batch(jax.random.key(0), 0.0).success, who == 2)


def test_failures_are_left_out_and_counted(env, monkeypatch):
    monkeypatch.setattr(demonstrations, "make_batch", outcome(1 / 4))
    few, many = (record(env, "push", nobody, episodes=n, seed=0, noise=0.0) for n in (3, 20))
    assert few.action[:, 0, 0].tolist() == [2, 6, 10]
    assert few.played == 11
    assert many.action[:, 0, 0].tolist() == [*range(2, 64, 4), 2, 6, 10, 14]
    assert many.played == 64 + 15


def test_a_demonstrator_who_fails_is_refused(env, monkeypatch):
    monkeypatch.setattr(demonstrations, "make_batch", outcome(1 / 50))
    with pytest.raises(UserError, match="Only 8 of 256 .* of push succeed within 150 steps;"):
        record(env, "push", nobody, episodes=20, seed=0, noise=0.0)


def test_a_file_gives_back_what_was_saved(file, pushes):
    loaded = load(file, task="push")
    for name in TRAJECTORIES:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(pushes, name))
    assert (loaded.task, loaded.played, loaded.images) == ("push", pushes.played, None)
    assert [path.name for path in file.parent.iterdir()] == ["push.npz"]


def test_pictures_are_read_only_where_they_are_asked_for(tmp_path, pictured):
    file = tmp_path / "push.npz"
    save(file, pictured)
    assert load(file, task="push").images is None
    loaded = load(file, task="push", images=True)
    np.testing.assert_array_equal(loaded.images, pictured.images)


def refused(file, **options):
    with pytest.raises(UserError) as caught:
        load(file, **{"task": "push"} | options)
    message = str(caught.value)
    assert str(file) in message and "`ndp demos" in message and "\n" not in message
    return message


def test_files_that_do_not_serve_are_refused(tmp_path, file):
    assert "There is no file" in refused(tmp_path / "none.npz")
    assert "demonstrates push, not soccer" in refused(file, task="soccer")
    assert "holds no pictures" in refused(file, images=True)


@pytest.mark.parametrize("name", TRAJECTORIES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, pushes, name, value):
    array = getattr(pushes, name).copy()
    array[1, 7, 0] = value
    save(tmp_path / "push.npz", pushes._replace(**{name: array}))
    assert f"{name} of episode 1 in" in refused(tmp_path / "push.npz")


def test_pictures_of_another_size_are_refused(tmp_path, pushes):
    small = np.zeros((EPISODES, 150, 8, 9, 3), np.uint8)
    save(tmp_path / "push.npz", pushes._replace(images=small))
    assert "are 8 x 9 x 3, not 84 x 84 x 3" in refused(tmp_path / "push.npz", images=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"not an archive",
        lambda content: content[:400] + bytes([content[400] ^ 1]) + content[401:],
    ],
)
def test_damaged_files_are_refused(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    assert "are damaged" in refused(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda pushes: {"action": pushes.action[:-1]},
        lambda pushes: {"velocity": pushes.velocity[..., :2]},
        lambda pushes: {"observation": pushes.observation[..., 0]},
        lambda pushes: {"action": pushes.action.astype(int)},
        lambda pushes: {name: getattr(pushes, name)[:0] for name in TRAJECTORIES},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(tmp_path, pushes, change):
    save(tmp_path / "push.npz", pushes._replace(**change(pushes)))
    assert "are damaged" in refused(tmp_path / "push.npz")


def test_an_interrupted_write_leaves_nothing(tmp_path, pushes, monkeypatch):
    def fill_the_disk(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fill_the_disk)
    with pytest.raises(UserError, match=r"Cannot write .*No space left.*choose another --out"):
        save(tmp_path / "push.npz", pushes)
    assert list(tmp_path.iterdir()) == []


def test_the_script_demonstrates_once(tmp_path, pushes, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def note(env, *_, **asks):
        asked.append(asks | {"episode_length": env.episode_length})
        return pushes

    monkeypatch.setattr(demonstrations, "record", note)
    for length in (150, 150, 90):
        config = replace(IMITATED["push"], impl="c", episodes=EPISODES, episode_length=length)
        again = demonstrations.scripted(config)
        np.testing.assert_array_equal(again.action, pushes.action)
    expected = {"episodes": EPISODES, "seed": 0, "noise": 0.3, "images": False}
    assert asked == [expected | {"episode_length": length} for length in (150, 90)]


@pytest.mark.usefixtures("renderer")
def test_pictures_show_the_scene_before_the_action(env):
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    with pictures.camera(env) as eye:
        images = pictures.take(eye, evaluate.pose(state))
    assert images.shape == (2, 84, 84, 3)
    red, green, blue = np.moveaxis(images[0].astype(int), -1, 0)
    assert np.sum((blue > 100) & (blue > red + 60)) > 5  # the puck
    assert np.sum((green > 60) & (green > red + 30)) > 10  # the goal
    assert (images[0] != images[1]).any()


def test_without_opengl_pictures_are_refused(env, monkeypatch):
    def nothing(*_, **__):
        raise camera.NoRenderer("OpenGL is not available; install libegl1.")

    monkeypatch.setattr(pictures, "Camera", nothing)
    with pytest.raises(UserError, match="No pictures: OpenGL is not available"):
        record(env, "push", nobody, episodes=1, seed=0, noise=0.0, images=True)


def test_the_command_writes_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(envs, "make", lambda task, **options: Sketch())
    assert main(["demos", "push", "--episodes", "2", "--seed", "3"]) == 0
    written, script = load(tmp_path / "demos" / "push.npz", task="push"), scripted(Sketch())
    recorded = record(Sketch(), "push", script, episodes=2, seed=3, noise=0.3)
    for name in TRAJECTORIES:
        np.testing.assert_array_equal(getattr(written, name), getattr(recorded, name))
    said = capsys.readouterr().out
    assert f"2 of {recorded.played} episodes succeeded (noise 0.3)" in said
    assert "Wrote demos/push.npz (0." in said
    assert main(["demos", "push"]) == 2
    assert "demos/push.npz exists already; choose another --out." in capsys.readouterr().err

    assert main(["demos", "push", "--episodes", "1", "--noise", "0", "--out", "exact.npz"]) == 0
    exact = load(tmp_path / "exact.npz", task="push")
    moved = np.diff(exact.position, axis=1) / Sketch().action_scale
    np.testing.assert_allclose(moved[..., :2], exact.action[:, :-1, :2], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pusch"], "did you mean 'push'"),
        (["push", "--episodes", "0"], "--episodes is 0"),
        (["push", "--noise", "-1"], "--noise is -1"),
        (["push", "--noise", "nan"], "--noise is nan"),
        (["push", "--seed", "-1"], "--seed is -1"),
        (["push", "--run", "nowhere"], "no run folder nowhere"),
        (["push", "--out", "demos.txt"], "must end in .npz"),
    ],
)
def test_the_command_refuses(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(["demos", *arguments]).check()


def test_a_file_made_as_the_docs_describe_is_read(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "imitation.md").read_text()
    described = text.partition("### A file of demonstrations")[2].partition("\n### ")[0]
    sizes = {"N": 3, "L": 4, "O": 9, "D": 3, "A": 3, "84": 84}
    arrays = {}
    for name, shape, kind in re.findall(r"^\| `(\w+)` \| \(([^)]*)\), (\w+) \|", described, re.M):
        dtype = {"text": "U4", "integer": int}.get(kind, kind)
        shape = tuple(sizes.get(extent) or int(extent) for extent in re.findall(r"\w+", shape))
        arrays[name] = np.full(shape, "push") if kind == "text" else np.ones(shape, dtype)
    assert tuple(arrays) == demonstrations.Demonstrations._fields[:4] + ("images", "task", "played")
    np.savez(tmp_path / "mine.npz", **arrays)
    found = demonstrations.load(tmp_path / "mine.npz", task="push", images=True)
    assert found.action.shape == (3, 4, 3)
    assert found.images is not None and found.images.shape == (3, 4, 84, 84, 3)
    assert (found.task, found.played) == ("push", 1)
