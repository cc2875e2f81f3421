"""What the README says of learning: a run, clones and a sweep of push, as a user starts them."""

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from train.runs import metrics

ROOT = Path(__file__).parents[2]
TINY = "--num-envs 8 --steps 4800 --minibatches 4 --epochs 2 --eval-every 2 --eval-episodes 16"

pytestmark = pytest.mark.slow


def ndp(*arguments, cwd):
    """What the command prints, in a process of its own."""
    command = [sys.executable, "-m", "ndp_jax", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The current folder of the user."""
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def said(place):
    """By `ndp train push`, with nothing but the preset."""
    return ndp("train", "push", cwd=place)


@pytest.fixture
def run(place, said):
    return place / "runs" / "push-ndp-seed0"


def test_push_is_learned(run):
    """At least .9 of held-out episodes; of those of the first evaluation hardly any succeed."""
    found = evaluation(run)
    assert (found["episodes"], found["broken"]) == (256, 0)
    assert found["success"] >= 0.9
    assert found["distance"] < 0.07
    evaluated = metrics.read(run, metrics.EVALUATIONS)["success"]
    assert evaluated[0] < 0.2 and evaluated[-1] >= 0.9
    assert metrics.read(run)["success"][-1] >= 0.9


def test_training_prints_what_the_readme_shows(said):
    """But for its numbers."""
    shown = re.search(r"^```text\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    expected = without_numbers(shown.group(1))
    assert without_numbers(said)[-len(expected) :] == expected


def without_numbers(text):
    return re.sub(r"\d[\d.,:]*", "#", text).splitlines()


def test_what_was_learned_pushes_in_c(place, run):
    """The exported policy, without MJX and the learner."""
    ndp("export", run, cwd=place)
    example = runpy.run_path(str(ROOT / "examples" / "c_mujoco_policy.py"))
    assert example["play"](run / "policy.msgpack", episodes=50) >= 45


@pytest.fixture(scope="module")
def scripted(place):
    ndp("demos", "push", cwd=place)
    return place / "demos" / "push.npz"


@pytest.mark.parametrize(("policy", "success"), [("ndp", 0.8), ("nn", 0.93)])
def test_push_is_cloned(place, scripted, policy, success):
    """A little less than the worst of three seeds, .855 and .980."""
    ndp("imitate", "push", "--policy", policy, "--demos", scripted, cwd=place)
    found = evaluation(place / "runs" / f"push-clone-{policy}-seed0")
    assert (found["episodes"], found["broken"]) == (256, 0)
    assert found["success"] >= success


def test_a_policy_that_learned_push_is_cloned(place, run):
    ndp("demos", "push", "--run", run, "--episodes", 20, "--out", "learned.npz", cwd=place)
    few = ("--episodes", 20, "--steps", 4000, "--out", "clone")
    ndp("imitate", "push", "--demos", "learned.npz", *few, cwd=place)
    assert evaluation(place / "clone")["success"] >= 0.8


def test_a_sweep_of_push_from_grid_to_tables(place):
    """Two policies of two seeds, too short to learn; each is evaluated as a run alone is."""
    swept = ("--over.policy", "ndp", "ppo", "--seeds", 2, "--out", "sweep")
    said = ndp("sweep", "push", *TINY.split(), *swept, cwd=place)
    sweep = place / "sweep"
    rows = list(csv.DictReader((sweep / "table.csv").read_text().splitlines()))
    assert [(row["policy"], row["seed"], row["steps"]) for row in rows] == [
        (policy, seed, "4800") for policy in ("ndp", "ppo") for seed in "01"
    ]
    assert str(Path("sweep") / "best.json") in said
    before = (sweep / "table.csv").read_bytes()
    assert "best.json" in ndp("sweep", "--resume", "sweep", cwd=place)
    assert (sweep / "table.csv").read_bytes() == before
    returns = set()
    for row in rows:
        member = sweep / "members" / row["member"]
        assert metrics.read(member)["steps"] == [1200, 2400, 3600, 4800]
        assert metrics.read(member, metrics.EVALUATIONS)["steps"] == [0, 2400, 4800]
        found = evaluation(member)
        for name in ("success", "returns", "distance"):
            assert float(row[name]) == found[name]
        ndp("evaluate", member, "--episodes", 16, cwd=place)
        again = evaluation(member)
        assert again["episodes"] == found["episodes"] == 16
        assert again["returns"] == pytest.approx(found["returns"], rel=0.02)
        assert again["distance"] == pytest.approx(found["distance"], rel=0.02)
        returns.add(found["returns"])
    assert len(returns) == 4
