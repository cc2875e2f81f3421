"""A policy that was saved and loaded acts as before, and no other file is taken for one."""

import dataclasses
import errno
import functools
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

import ndp_jax
from ndp_jax import DMP, normalize
from ndp_jax.export import FORMAT, PARTS, load_policy, save_policy
from ndp_jax.networks import CNN
from ndp_jax.policies import ActorCritic, ClosedForm, DirectHead, Euler, PrimitiveHead

CHUNK, DIMS, OBSERVED, ACTION_SCALE = 5, 3, 9, 0.01
ABOUT = {"task": "push", "dt": 0.05, "config": {"hidden": (8, 8), "seed": 0, "out": None}}

MATRIX = Euler("matrix")


def primitive_head(kind=PrimitiveHead, *, action_size=DIMS, solver=MATRIX, forcing="scaled"):
    return kind(
        dmp=DMP(n_basis=4, n_steps=CHUNK * 8, alpha=5.0, kernel="linear", forcing=forcing),
        chunk=CHUNK,
        action_size=action_size,
        duration=0.25,
        action_scale=ACTION_SCALE,
        goal_scale=jnp.asarray(0.05),
        weight_scale=jnp.asarray(50.0),
        solver=solver,
    )


ALONE = """
import sys, jax.export, numpy
folder = sys.argv[1]
with open(folder + "/policy.stablehlo", "rb") as file:
    act = jax.export.deserialize(file.read()).call
numpy.save(folder + "/actions.npy", act(*numpy.load(folder + "/seen.npz").values()))
assert not {"ndp_jax", "flax"} & set(sys.modules)
"""
"""Acts on what was seen, with JAX alone."""

HEADS = {
    "ndp": primitive_head(),
    "ndp with gripper": primitive_head(action_size=DIMS + 1),
    "ndp, scan": primitive_head(solver=Euler("scan")),
    "ndp, unscaled": primitive_head(forcing="unscaled"),
    "prodmp": primitive_head(solver=ClosedForm(), forcing="unscaled"),
    "ppo-multi": DirectHead(chunk=CHUNK, action_size=DIMS),
    "ppo": DirectHead(chunk=1, action_size=DIMS),
}


@functools.cache
def learned(name):
    """A policy, its parameters after some learning, and the statistics of its observations."""
    policy = ActorCritic(head=HEADS[name], hidden=(8, 8), initial_log_std=jnp.asarray(-0.5))
    observation, velocity = inputs((50,))
    params = jax.jit(policy.init)(jax.random.key(1), observation, velocity, velocity)
    params = jax.tree.map(lambda x: x + 0.2 * jax.random.normal(jax.random.key(2), x.shape), params)
    return policy, params, normalize.update(normalize.init((OBSERVED,)), 2 + observation)


def inputs(batch):
    keys = jax.random.split(jax.random.key(0))
    observation = jax.random.normal(keys[0], (*batch, OBSERVED))
    return observation, 0.1 * jax.random.normal(keys[1], (*batch, DIMS))


def means(policy, params, statistics, observation, position, velocity):
    """What the learner computes."""
    observation = normalize.normalize(statistics, observation)
    return policy.apply(params, observation, position, velocity).mean


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.msgpack"


@pytest.fixture(params=HEADS)
def name(request):
    return request.param


@pytest.fixture
def saved(path, name):
    """What was saved, and what is loaded."""
    save_policy(path, *learned(name), about=ABOUT)
    return learned(name), load_policy(path)


@pytest.fixture
def loaded(path):
    save_policy(path, *learned("ndp"), about=ABOUT)
    return ndp_jax.load_policy(path)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_it_acts_as_before(saved, name, batch):
    (policy, params, statistics), loaded = saved
    observation, velocity = inputs(batch)
    expected = means(policy, params, statistics, observation, jnp.zeros_like(velocity), velocity)
    actions = loaded(observation, velocity)
    assert actions.shape == (*batch, HEADS[name].chunk, HEADS[name].action_size)
    assert jnp.std(actions) > 0.1
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


def test_where_the_robot_is_only_rounds_differently(saved):
    """By a few float32 steps of a position of 1, in action units."""
    parts, loaded = saved
    observation, velocity = inputs((50,))
    position = jnp.linspace(-1, 1, 50 * DIMS).reshape(50, DIMS)
    expected = means(*parts, observation, position, velocity)
    step = jnp.finfo(jnp.float32).eps / ACTION_SCALE
    np.testing.assert_allclose(loaded(observation, velocity), expected, rtol=1e-5, atol=8 * step)


def test_nothing_is_lost(saved):
    (policy, params, statistics), loaded = saved
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
    jax.tree.map(np.testing.assert_array_equal, loaded.statistics, statistics)
    pairs = (loaded.policy, policy), (loaded.policy.head, policy.head)
    for again, part in pairs:
        for field in {field.name for field in dataclasses.fields(part)} - {"parent", "head"}:
            assert getattr(again, field) == getattr(part, field), field
    assert loaded.about == {
        "task": "push",
        "dt": 0.05,
        "config": {"hidden": [8, 8], "seed": 0, "out": None},
    }


def test_it_tells_its_sizes(saved, name):
    _, loaded = saved
    sizes = loaded.observation_shape, loaded.velocity_size, loaded.chunk, loaded.action_size
    assert (
        sizes
        == {
            "ndp": ((9,), 3, 5, 3),
            "ndp with gripper": ((9,), 3, 5, 4),
            "ndp, scan": ((9,), 3, 5, 3),
            "ndp, unscaled": ((9,), 3, 5, 3),
            "prodmp": ((9,), 3, 5, 3),
            "ppo-multi": ((9,), 0, 5, 3),
            "ppo": ((9,), 0, 1, 3),
        }[name]
    )


def test_it_shows_in_a_line(path):
    save_policy(path, *learned("ndp with gripper"), about=ABOUT)
    assert repr(load_policy(path)) == (
        "LoadedPolicy(push: observation (9,), velocity (3,) -> actions (5, 4); "
        "PrimitiveHead, 533 parameters)"
    )
    save_policy(path, *learned("ppo"), about={})
    assert repr(load_policy(path)) == (
        "LoadedPolicy(observation (9,) -> actions (1, 3); DirectHead, 343 parameters)"
    )


def test_it_takes_lists(loaded):
    observation, velocity = inputs(())
    actions = loaded(observation.tolist(), velocity.tolist())
    np.testing.assert_array_equal(actions, loaded(observation, velocity))
    message = "observation is ['one']; give numbers, as an array or in lists of equal lengths."
    with pytest.raises(ValueError, match=re.escape(message)):
        loaded(["one"])


def test_it_goes_where_there_is_only_jax(saved, name, path, tmp_path):
    """As StableHLO for any number of robots, in a process that has no package of ours."""
    _, loaded = saved
    batch = jax.export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((*batch, size), jnp.float32) for size in (OBSERVED, DIMS)]
    exported = jax.export.export(jax.jit(loaded), platforms=["cpu", "cuda"])(*shapes)
    (tmp_path / "policy.stablehlo").write_bytes(exported.serialize())
    observation, velocity = inputs((4,))
    again = jax.export.deserialize((tmp_path / "policy.stablehlo").read_bytes())
    np.testing.assert_allclose(
        again.call(observation, velocity), loaded(observation, velocity), rtol=1e-5, atol=1e-5
    )
    if name == "ndp":
        np.savez(tmp_path / "seen.npz", observation=observation, velocity=velocity)
        command = [sys.executable, "-c", ALONE, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        there = np.load(tmp_path / "actions.npy")
        np.testing.assert_allclose(there, loaded(observation, velocity), rtol=1e-5, atol=1e-5)


def test_it_is_a_pure_function_for_jit_and_vmap(loaded):
    observation, velocity = inputs((4,))
    actions = loaded(observation, velocity)
    for transformed in (jax.jit(loaded), jax.vmap(loaded), jax.jit(jax.vmap(loaded))):
        np.testing.assert_allclose(transformed(observation, velocity), actions, atol=1e-5)
    gradient = jax.grad(lambda observation: jnp.sum(loaded(observation, velocity)))(observation)
    assert jnp.all(jnp.any(gradient != 0, axis=-1))


def test_it_takes_what_a_simulator_has(loaded):
    """Arrays in float64."""
    observation, velocity = inputs(())
    actions = loaded(np.asarray(observation, float), np.asarray(velocity, float))
    np.testing.assert_array_equal(actions, loaded(observation, velocity))
    assert actions.dtype == jnp.float32


def test_without_velocity_the_robot_is_at_rest(saved, name):
    _, loaded = saved
    observation, velocity = inputs((4,))
    still = loaded(observation)
    np.testing.assert_array_equal(still, loaded(observation, 0 * velocity))
    assert bool(jnp.all(still == loaded(observation, velocity))) == name.startswith("ppo")


def test_a_policy_that_sees_pictures_acts_as_before(path):
    policy = ActorCritic(head=HEADS["ndp"], encoder=CNN((2,), kernel=3), hidden=(8,))
    pictures = jax.random.uniform(jax.random.key(0), (2, 4, 6, 8, 3))
    still = jnp.zeros((2, 4, DIMS))
    statistics = normalize.init((6, 8, 3))
    params = jax.jit(policy.init)(jax.random.key(1), pictures, still, still)
    save_policy(path, policy, params, statistics, about={})
    loaded = load_policy(path)
    assert loaded.observation_shape == (6, 8, 3)
    assert loaded.policy.encoder == policy.encoder
    expected = means(policy, params, statistics, pictures, still, still)
    np.testing.assert_allclose(loaded(pictures), expected, rtol=1e-5, atol=1e-5)
    assert loaded(pictures[0, 0]).shape == (CHUNK, DIMS)
    with pytest.raises(ValueError, match=re.escape("has shape (8, 6, 3); give (..., 6, 8, 3).")):
        loaded(np.zeros((8, 6, 3)))


@pytest.mark.parametrize("shape", [(), (8,), (9, 1), (4, 10)])
def test_an_observation_of_another_size_is_refused(loaded, shape):
    with pytest.raises(ValueError, match=re.escape(f"has shape {shape}; give (..., 9).")):
        loaded(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (3,), (4, 2), (4, 1, 3)])
def test_a_velocity_of_another_shape_is_refused(loaded, shape):
    with pytest.raises(ValueError, match=re.escape(f"has shape {shape}; give (4, 3), or None")):
        loaded(np.zeros((4, 9)), np.zeros(shape))


@pytest.mark.parametrize("content", [b"", b"{}", b"ndp_jax policy one", bytes(range(256))])
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"policy.msgpack is not a policy; give a file that"):
        load_policy(path)


def test_a_missing_file_is_one_sentence(path, tmp_path):
    with pytest.raises(ValueError, match=r"policy.msgpack cannot be read \(No such file"):
        load_policy(path)
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        load_policy(tmp_path)


def test_no_damaged_file_is_read(path, loaded):
    """Cut off anywhere, or with any byte changed."""
    content = path.read_bytes()
    header = content.index(b"\n")
    for place in np.linspace(0, len(content) - 1, 200).astype(int):
        changed = bytearray(content)
        changed[place] ^= 1  # turns the format into a newer one
        for damaged in (content[:place], bytes(changed)):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="not a pol|truncated or|has format"):
                load_policy(path)
    path.write_bytes(content[: header + 1])
    with pytest.raises(ValueError, match=r"policy.msgpack is truncated or was changed; export it"):
        load_policy(path)


def test_a_newer_format_is_refused(path, loaded):
    current, newer = f"policy {FORMAT} ".encode(), f"policy {FORMAT + 1} ".encode()
    path.write_bytes(path.read_bytes().replace(current, newer, 1))
    with pytest.raises(ValueError, match=f"has format {FORMAT + 1} and this ndp_jax reads formats"):
        load_policy(path)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_file_of_an_older_format_acts_as_before(path, loaded, number):
    """Format 5 knows only Euler steps, by their method, 4 explores only actions, 3 has no encoder,
    as there were no pictures, and 2 no forcing: it was scaled."""
    _, _, body = path.read_bytes().partition(b"\n")
    saved = serialization.msgpack_restore(body)
    assert saved["policy"]["head"].pop("solver") == {"class": "Euler", "method": "matrix"}
    saved["policy"]["head"]["method"] = "matrix"
    if number < 5:
        assert saved["policy"].pop("exploration") == {"class": "ActionNoise"}
    if number < 4:
        assert saved["policy"].pop("encoder") is None
    if number == 2:
        assert saved["policy"]["head"]["dmp"].pop("forcing") == "scaled"
    body = serialization.msgpack_serialize(saved)
    path.write_bytes(
        f"ndp_jax policy {number} {hashlib.sha256(body).hexdigest()}\n".encode() + body
    )
    older = load_policy(path)
    assert older.policy == loaded.policy
    observation, velocity = inputs((4,))
    np.testing.assert_array_equal(older(observation, velocity), loaded(observation, velocity))


def test_the_primitive_of_an_older_file_has_the_alpha_that_stands_beside_it(path, loaded):
    _, _, body = path.read_bytes().partition(b"\n")
    saved = serialization.msgpack_restore(body)
    saved["policy"]["head"]["alpha"] = 7.0
    body = serialization.msgpack_serialize(saved)
    path.write_bytes(f"ndp_jax policy 4 {hashlib.sha256(body).hexdigest()}\n".encode() + body)
    assert (loaded.policy.head.dmp.alpha, load_policy(path).policy.head.dmp.alpha) == (5, 7)


def test_format_6_knows_these_fields():
    """Other fields need another format, and a `load_policy` that reads both."""
    fields = {
        name: {field.name for field in dataclasses.fields(part)} - {"parent", "name"}
        for name, part in PARTS.items()
    }
    assert FORMAT == 6
    assert fields == {
        "Policy": {"head", "encoder", "hidden", "initial_log_std", "exploration"},
        "PrimitiveHead": {
            "dmp",
            "chunk",
            "action_size",
            "duration",
            "action_scale",
            "goal_scale",
            "weight_scale",
            "alpha",
            "solver",
        },
        "Euler": {"method"},
        "ClosedForm": set(),
        "DirectHead": {"chunk", "action_size", "correlation"},
        "ActionNoise": set(),
        "TrajectoryNoise": set(),
        "DMP": {"n_basis", "n_steps", "tau", "alpha", "alpha_x", "kernel", "forcing"},
        "CNN": {"channels", "kernel"},
        "Writer": {"head", "encoder", "hidden", "method"},
        "StrokeHead": {"dmp"},
        "ParameterHead": {"dmp"},
        "PathHead": {"samples"},
    }


class OtherHead(PrimitiveHead):
    """Knows what a `PrimitiveHead` does not."""


def test_a_part_that_cannot_be_described_is_refused(path):
    _, params, statistics = learned("ndp")
    other = ActorCritic(head=primitive_head(OtherHead))
    with pytest.raises(ValueError, match=r"cannot hold OtherHead; it can hold Policy, Primit"):
        save_policy(path, other, params, statistics, about={})
    with pytest.raises(ValueError, match=r"cannot hold PosixPath; it"):
        save_policy(path, *learned("ndp"), about={"path": Path()})
    assert not path.exists()


def test_a_part_of_somebody_else_is_named_by_who_writes_and_who_reads(path):
    _, params, statistics = learned("ndp")
    policy = ActorCritic(head=primitive_head(OtherHead), hidden=(8, 8))
    save_policy(path, policy, params, statistics, about={}, parts=[OtherHead])
    with pytest.raises(ValueError, match=r"has a part .*:OtherHead; give load_policy its"):
        load_policy(path)
    loaded = load_policy(path, parts=[OtherHead])
    assert (type(loaded.policy.head), loaded.velocity_size) == (OtherHead, DIMS)
    observation, velocity = inputs((4,))
    expected = means(policy, params, statistics, observation, jnp.zeros_like(velocity), velocity)
    np.testing.assert_allclose(loaded(observation, velocity), expected, rtol=1e-5, atol=1e-5)


def test_a_full_disk_leaves_the_earlier_file(path, loaded, monkeypatch):
    def write_half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left on device"):
        save_policy(path, *learned("ppo"), about={})
    assert load_policy(path).chunk == CHUNK
