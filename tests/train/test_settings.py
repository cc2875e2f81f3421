"""Processes whose JAX has other settings: commands do their work in them or say why they cannot."""

import os
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import probing
import pytest
from flax import serialization

from configs import PRESETS
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner
from train.runs import checkpoint, metrics, run
from train.system import runtime

TINY = "--num-envs 4 --steps 1200 --minibatches 4 --epochs 1 --eval-episodes 4 --eval-every 0"
DIGITS = "--model mlp-ndp --samples 32 --held-out 8 --batch 16 --hidden 8 --steps 20"
FLOAT64, DEBUG = {"JAX_ENABLE_X64": "1"}, {"JAX_DEBUG_NANS": "1"}
SETTINGS = {"JAX_ENABLE_X64": ("0", "1"), "JAX_DEFAULT_PRNG_IMPL": ("threefry2x32", "rbg")}


def ndp(*arguments, **settings):
    """`ndp` on a probe, in a process with such settings."""
    return subprocess.run(
        [sys.executable, probing.__file__, *map(str, arguments)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=600,
    )


def blank(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), leaf.shape)
    return jnp.zeros(leaf.shape, leaf.dtype)


def save(folder, config, template, *, recorded):
    """A run with one checkpoint; not recorded means that it is older than the settings' names."""
    run.save_config(folder, config, {})
    versions = runtime.versions()
    if not recorded:
        versions = {name: then for name, then in versions.items() if name not in SETTINGS}
    with (
        mock.patch.object(checkpoint, "versions", lambda: versions),
        checkpoint.open_manager(folder) as manager,
    ):
        checkpoint.save(manager, jax.tree.map(blank, template), config=config, steps=20)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with runs of push, `recorded` and `older`."""
    folder = tmp_path_factory.mktemp("runs")
    config = PRESETS["push"]
    learner = make_learner(make_env(config), config)
    template = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(config))
    for name in ("recorded", "older"):
        (folder / name).mkdir()
        save(folder / name, config, template, recorded=name == "recorded")
    return folder


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["evaluate", "recorded"], "JAX_ENABLE_X64"),
        (["train", "--resume", "older"], "JAX_DEFAULT_PRNG_IMPL"),
        pytest.param(["evaluate", "recorded"], "JAX_DEFAULT_PRNG_IMPL", marks=pytest.mark.slow),
        pytest.param(["evaluate", "older"], "JAX_ENABLE_X64", marks=pytest.mark.slow),
        pytest.param(["export", "recorded"], "JAX_ENABLE_X64", marks=pytest.mark.slow),
        pytest.param(["render", "recorded"], "JAX_ENABLE_X64", marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_checkpoint_of_other_settings_is_refused_by_their_names(
    runs, monkeypatch, command, setting
):
    monkeypatch.chdir(runs)
    folder = command[-1]
    then, now = SETTINGS[setting]
    done = ndp(*command, **{setting: now})
    assert done.returncode == 2
    assert done.stderr == (
        f"ndp: Checkpoint {runs / folder}/checkpoints/20 was made with {setting}={then}, but this "
        f"process has {now}; set {setting}={then}.\n"
    )
    assert (runs / folder / "checkpoints" / "20").is_dir()


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A run in float64."""
    folder = tmp_path_factory.mktemp("wide") / "run"
    done = ndp("train", "push", *TINY.split(), "--out", folder, **FLOAT64)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def leaves_of(folder):
    """Numbers of the latest checkpoint, as they lie on the disk."""
    with checkpoint.open_manager(folder, read_only=True) as manager:
        items = checkpoint.ocp.args.Composite(state=checkpoint.ocp.args.StandardRestore())
        saved = manager.restore(manager.latest_step(), args=items)
    return serialization.msgpack_restore(np.asarray(saved.state["leaves"]).tobytes())


def assert_wide(folder):
    floats = {
        name: leaf.dtype
        for name, leaf in leaves_of(folder).items()
        if np.issubdtype(leaf.dtype, np.floating) and ".state." not in name  # that is the probe's
    }
    assert len(floats) > 10
    assert {name: dtype for name, dtype in floats.items() if dtype != np.dtype("float64")} == {}


def test_a_run_in_float64_has_nothing_narrower(wide):
    assert_wide(wide)


@pytest.mark.slow
def test_a_run_in_float64_goes_on_in_float64_only(wide):
    further = ("train", "--resume", wide, "--steps", "1800")
    refused = ndp(*further)
    assert refused.returncode == 2
    assert refused.stderr.endswith("has 0; set JAX_ENABLE_X64=1.\n")
    done = ndp(*further, **FLOAT64)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Not bit for bit" not in done.stdout
    assert '"steps": 1800' in (wide / "config.json").read_text()


@pytest.mark.slow
def test_a_sweep_in_float64(tmp_path):
    folder = tmp_path / "sweep"
    options = (*TINY.split(), "--seeds", "2", "--out", folder)
    done = ndp("sweep", "push", *options, **FLOAT64)
    assert (done.returncode, done.stderr) == (0, "")
    members = sorted((folder / "members").iterdir())
    assert [metrics.read(member)["steps"] for member in members] == [[600, 1200]] * 2
    for member in members:
        assert_wide(member)


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_where_jax_stops_at_nan_a_sound_one_never_does(tmp_path, command):
    seeds = ("--seeds", "2") if command == "sweep" else ()
    done = ndp(command, "push", *TINY.split(), *seeds, "--out", tmp_path / "out", **DEBUG)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FLOAT64, DEBUG], ids=lambda settings: " ".join(settings))
def test_an_imitation_does_its_work(tmp_path, settings):
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    folder = tmp_path / "digits"
    done = ndp("imitate", "digits", *DIGITS.split(), "--out", folder, **settings, **cache)
    assert (done.returncode, done.stderr) == (0, "")
    evaluated = ndp("evaluate", folder, **cache)
    if settings is DEBUG:
        assert (evaluated.returncode, evaluated.stderr) == (0, "")
    else:
        assert_wide(folder)
        assert evaluated.stderr.endswith("has 0; set JAX_ENABLE_X64=1.\n")
