"""Every suite at tiny sizes: its table, file and figure."""

import importlib
import json

import jax
import mujoco
import numpy as np
import pytest
from rich.console import Console

from train.bench import dmp, env, startup, success, suite
from train.bench import train as training
from train.bench.learners import PEERS
from train.bench.report import report
from train.bench.sizes import Sizes
from train.cli import main
from train.rl.agent import make_env

SIZES = Sizes(tasks=("brief:Brief",), num_envs=(2,), members=(2,), impl="c")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Two calls of everything, small shapes, and no processes of gymnasium."""
    for name, value in (("LEAST", 2), ("MOST", 2)):
        monkeypatch.setattr(suite, name, value)
    for module, name, value in (
        (dmp, "QUICK", dict.fromkeys([dmp.Shape(2, 3, 5), dmp.Shape(3, 4, 6)], (1, 2))),
        (dmp, "LARGEST", 2**10),
        (env, "MOST_PROCESSES", 0),
        (startup, "REPEATS", 1),
        (success, "SEEDS", 2),
        (success, "SUCCESS", 0.0),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def measured(tmp_path, capsys):
    """Reports on a suite, whose rows in the file it returns."""

    def measured(name, sizes=SIZES):
        chosen = importlib.import_module(f"train.bench.{name}").SUITE
        console = Console(width=200, highlight=False, markup=False)
        report(name, chosen, chosen.measure(sizes), tmp_path, console)
        assert (tmp_path / f"{name}.png").exists() == bool(chosen.unit)
        rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        shown = capsys.readouterr().out
        for row in rows:
            assert row["way"] in shown and row.get("note", "") in shown
            assert "note" in row or min(row["seconds"]) > 0
        return rows

    return measured


def test_dmp(measured):
    rows = measured("dmp", Sizes())
    assert len(rows) == 2 * 2 * 2 * len(dmp.WAYS)
    for row in rows:
        package, _ = dmp.WAYS[row["way"]]
        if not package:
            assert row["of copying"] > 0
        elif not importlib.util.find_spec(package.replace("-", "_")):
            assert row["note"] == f"not installed: pip install {package}"


def test_env(measured):
    ours, loop, processes = measured("env")
    assert (ours["way"], ours["units"], ours["case"]["environments"]) == ("C", 2 * 4, 2)
    assert (loop["way"], loop["units"]) == ("C MuJoCo loop", 3)
    assert processes["note"]


def test_c_mujoco_goes_where_ours_went(monkeypatch):
    robots = make_env(SIZES.configs()[0])
    told = jax.device_get(jax.jit(env.make_episode(robots, 2))(jax.random.key(0))[1])
    assert [len(column) for column in told] == [4, 4, 4]
    data = mujoco.MjData(robots.mj_model)
    monkeypatch.setattr(mujoco, "MjData", lambda model: data)
    env.c_loop(robots, told)()
    assert data.time == pytest.approx(3 * robots.dt)
    np.testing.assert_allclose(data.qpos, told[0][-1], atol=1e-3)


def test_train(measured, monkeypatch):
    monkeypatch.setattr("train.bench.learners.PEERS", {})
    rows = measured("train")
    assert [row["way"] for row in rows] == ["ndp C", "ppo C"]
    for row in rows:
        assert row["units"] == 2 * 4
        assert sum(row[part] for part in training.PARTS) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("package", PEERS)
def test_peers_learn(package):
    """Every update of theirs is timed, and tells of successes."""
    pytest.importorskip(package.replace("-", "_"))
    config = SIZES._replace(impl="jax").configs()[0]
    row = training.measure_peer({}, package, config, learn=PEERS[package])
    assert len(row.seconds) == 2 and row.units == 2 * 4
    told = []
    PEERS[package](config, told.append)
    assert len(told) >= config.updates - 1 and all(0 <= share <= 1 for share in told[1:])


def test_sweep(measured):
    together, alone = measured("sweep")
    assert (together["way"], together["units"]) == ("together", 2 * alone["units"])


def test_success(measured, monkeypatch):
    monkeypatch.setattr("train.bench.learners.PEERS", {})
    for row in measured("success"):
        assert len(row["seconds"]) == 2 and row["steps"] == 8


def test_no_success_is_told(monkeypatch):
    def learn(config, watch):
        watch(0.1 * config.seed)

    monkeypatch.setattr(success, "SUCCESS", 0.5)
    config = SIZES.configs()[0]
    row = suite.attempt({}, "ours", lambda: success.measure_way({}, "ours", learn, config))
    assert row.note == f"not reached in {config.steps:,} steps by seed 0: 0.00"


@pytest.mark.slow
def test_startup(measured):
    cold, warm = measured("startup", Sizes(num_envs=(16,), impl="c"))
    assert (cold["way"], warm["way"]) == ("cold", "warm")
    assert warm["memory"] > 0.1


@pytest.mark.slow
def test_processes_of_gymnasium(measured, monkeypatch):
    monkeypatch.setattr(env, "MOST_PROCESSES", 2)
    *_, row = measured("env")
    assert row["units"] == 2 * 4


def test_the_command(tmp_path, capsys):
    try:
        assert (
            main(["bench", "--suite", "dmp", "--batches", "3", "--out", str(tmp_path / "a")]) == 0
        )
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert "batch 3" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "a").iterdir()} == {"dmp.json", "dmp.png"}
