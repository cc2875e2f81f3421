"""The arm of docs/bring-your-own.md, which is anybody's, goes through what our tasks go through."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from configs import PRESETS
from configs.fields import replaced
from ndp_jax import load_policy
from train.cli import main
from train.commands.parsing import parse
from train.rl.agent import make_env
from train.runs import metrics, plots
from train.system.errors import UserError

DOCS = (Path(__file__).parents[2] / "docs" / "bring-your-own.md").read_text()
TINY = ["--num-envs", "4", "--minibatches", "4", "--epochs", "1", "--hidden", "8", "--steps", "800"]
TINY += ["--eval-episodes", "4"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the file of the documentation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which gets the folder
    (code,) = re.findall(r"```python\n(# arm.py\n.*?)```", DOCS, re.DOTALL)
    bare = "\n\ndef bare():\n    joints = make().options['joints']\n    return envs.adapt("
    bare += "Arm(), joints=joints, controller='torque', kp=1.0, kd=0.1, episode_length=20)\n"
    (tmp_path / "arm.py").write_text(code + bare)
    yield tmp_path
    sys.modules.pop("arm", None)
    envs._foreign.cache_clear()
    PRESETS._load.__globals__["of_foreign"].cache_clear()


def test_the_preset_fits_the_environment(here):
    preset = PRESETS["arm:make"]
    assert (preset.episode_length, preset.rollout_steps, preset.chunk) == (100, 100, 5)
    assert preset.primitive.goal_scale == pytest.approx(5 * 2.5 * 0.05)
    preset = PRESETS["arm:bare"]
    assert (preset.episode_length, preset.rollout_steps) == (20, 20)


def test_what_the_command_line_says_is_what_the_environment_does(here):
    options = ["--controller", "position", "--unit", "3", "--speed", "1"]
    command = parse(["train", "arm:make", *options, "--policy", "ppo-multi"])
    command.check()
    env = make_env(command.config)
    assert env.options["controller"] == "position"
    assert env.action_scale == pytest.approx(0.05)
    assert (env.options["chunk"], env.options["unit"], env.options["kp"]) == (5, 3.0, 1.2)
    env = make_env(replaced(command.config, {"policy": "ppo"}))
    assert env.options["chunk"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train push --speed 3", "--speed means nothing to the task push; leave it out"),
        ("train arm:make --reward-delay 2", "--reward-delay means nothing to the task arm:make"),
        ("train arm:make --kp -1", "--kp is -1.0; it must not be negative"),
        ("train arm:hand", "arm:hand must need no arguments, but it has a missing a required"),
        ("train arm:jax", "arm:jax is no task; name a class"),
        ("train brax/reecher", "There is no brax/reecher; did you mean brax/reacher"),
        ("train arm:make --alpha 3 --policy ppo", "--alpha means nothing to --policy ppo"),
        ("bench arm:make", "arm:make brings its own physics, which is not timed"),
        ("train arm:make --chunk 7", "--chunk 7 does not divide the 100-step episode"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(here, words, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        parse(words.split()).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"impl": "c"}, "arm:make brings its own physics; leave out --impl c"),
        ({"threads": 2}, "brings its own physics; leave out threads"),
        ({"joints": ("hip",)}, "Arm has no MuJoCo model; give joints as a function"),
        ({"observation": "state"}, "The observation is no dict that has 'state'"),
    ],
)
def test_what_the_environment_does_not_have_is_refused_in_a_sentence(here, change, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        make_env(replaced(PRESETS["arm:make"], change))
    assert "\n" not in str(caught.value)


def test_a_missing_package_and_missing_models_are_said_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(
        ValueError, match=r"needs the package .*pip install 'ndp-jax\[playground\]'"
    ):
        envs.make("playground/ReacherEasy")

    class Registry:
        ALL_ENVS = ("Go1JoystickFlatTerrain",)
        get_default_config = staticmethod(lambda name: {})

        @staticmethod
        def load(name, config_overrides):
            raise FileNotFoundError(2, "No such file or directory", "git")

    class Playground:
        registry = Registry

    monkeypatch.setitem(sys.modules, "mujoco_playground", Playground)
    with pytest.raises(ValueError, match="needs the models of mujoco_menagerie, which"):
        envs.make("playground/Go1JoystickFlatTerrain")
    with pytest.raises(ValueError, match="did you mean playground/Go1JoystickFlatTerrain"):
        envs.make("playground/Go1")


def test_it_is_trained_resumed_evaluated_drawn_and_exported(here, capsys):
    """One without success, whose episodes end early."""
    assert main(["train", "arm:bare", *TINY]) == 0
    folder = Path("runs/bare-ndp-seed0")
    rows = metrics.read(folder)
    assert len(rows["steps"]) == 10 and rows["episodes"][-1] >= 40
    assert not {"success", "distance"} & rows.keys()
    summary = json.loads((folder / "evaluation.json").read_text())
    assert {*summary} == {"episodes", "returns", "broken"}
    assert "No video: Adapted has no MuJoCo scene" in capsys.readouterr().out

    assert main(["train", "--resume", str(folder), "--steps", "960"]) == 0
    assert metrics.read(folder)["steps"][-1] == 960
    assert main(["evaluate", str(folder), "--episodes", "4", "--checkpoint", "best"]) == 0
    assert main(["plot", str(folder)]) == 0
    assert plots.read(folder).training.keys() == {"steps", "minutes", "returns"}
    assert main(["export", str(folder)]) == 0
    policy = load_policy(folder / "policy.msgpack")
    env = envs.make("arm:bare")
    state = env.reset(jax.random.key(0))
    assert policy(state.obs, env.robot_state(state)[1]).shape == (5, 2)


@pytest.mark.slow
def test_it_is_swept(here):
    words = ["--seeds", "2", "--over.speed", "1", "2", "--policy", "ppo-multi", *TINY]
    assert main(["sweep", "arm:bare", *words]) == 0
    table = json.loads(Path("runs/bare-sweep/table.json").read_text())
    assert len(table["settings"]) == 2
    assert all(row["success"] is None and row["area"] for row in table["settings"])
    assert Path("runs/bare-sweep/sweep.png").stat().st_size > 0


@pytest.mark.slow
def test_an_arm_of_motors_learns_to_reach_through_the_pd_law(here):
    """And learns less of raw torques."""
    far = {}
    for controller in ("torque", "increment"):
        words = ["--controller", controller, "--num-envs", "32", "--eval-every", "0"]
        out = f"runs/{controller}"
        assert main(["train", "arm:make", *words, "--steps", "320000", "--out", out]) == 0
        far[controller] = json.loads(Path(out, "evaluation.json").read_text())["distance"]
    assert far["torque"] < 0.15
    assert far["torque"] < far["increment"]
    assert np.isfinite(far["increment"])
