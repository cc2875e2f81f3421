"""A policy head and a task that are not ours, those of examples/, go through what ours do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import probing
import pytest

import envs
from configs import HEADS, IMITATED, PRESETS, TrainConfig, preset
from configs.fields import replaced, settings
from ndp_jax import load_policy
from ndp_jax.policies import ActorCritic
from train.cli import main
from train.commands.parsing import parse
from train.imitation import demonstrations, figures
from train.rl import memory
from train.rl.agent import hyperparameters, make_inference_fn, make_policy, observe
from train.rl.controllers import make_controller
from train.runs import checkpoint, metrics, plots, run
from train.runs.checks import check_any, check_idle, idle
from train.system.errors import UserError

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = ["--num-envs", "4", "--minibatches", "4", "--eval-episodes", "4", "--eval-every", "0"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the two of the examples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which gets the folder
    for name in ("spline.py", "my_task.py", "reach.xml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    yield tmp_path
    for name in ("spline", "my_task", "wrong", "bare"):
        sys.modules.pop(name, None)


COMMANDS = """
import json, sys
from train.system import runtime
runtime.prepare()
sys.path.insert(0, sys.argv[1])
import probing
for arguments in json.loads(sys.argv[2]):
    sys.argv[1:] = arguments
    assert probing.main() == 0, arguments
"""
"""Several of `ndp`, on a probe, in one process."""


def test_a_head_is_trained_plotted_evaluated_exported_and_loaded(here):
    folder = Path("runs/push-spline-seed0")
    commands = [
        ["train", "push", "--policy", "spline:spline", "--steps", "1200", *TINY],
        ["plot", str(folder)],
        ["evaluate", str(folder), "--episodes", "4"],
        ["export", str(folder)],
    ]
    words = [sys.executable, "-c", COMMANDS, Path(__file__).parent, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert metrics.read(folder)["steps"] == [600, 1200]
    assert json.loads((folder / "evaluation.json").read_text())["episodes"] == 4

    assert Path("curves.png").stat().st_size > 0
    figure = plots.draw(plots.gather([folder], plots.read), "mean")
    axis = figure.axes[0]
    assert axis.get_legend_handles_labels()[1] == ["spline, 1 run"]
    assert {line.get_color() for line in axis.lines} == {HEADS["spline:spline"].color}
    plots.plt.close(figure)

    with pytest.raises(ValueError, match="has a part spline:Spline; give load_policy its class"):
        load_policy(folder / "policy.msgpack")
    from spline import Spline

    policy = load_policy(folder / "policy.msgpack", parts=[Spline])
    assert (policy.chunk, policy.action_size, policy.velocity_size) == (5, 1, 1)

    config, env = run.load_config(folder), probing.Probe()
    with checkpoint.open_manager(folder, read_only=True) as manager:
        template = memory.shapes(env, config)
        _, state, _ = checkpoint.restore(manager, template, config=config)
    inputs = observe(env, jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 3)))
    learner = make_policy(env, config, state.hyper)
    expected = make_inference_fn(learner, state.params, state.obs_stats)(inputs).mean
    assert jnp.std(expected) > 0
    np.testing.assert_allclose(
        policy(inputs.observation, inputs.velocity), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(jnp.diff(expected, n=3, axis=1), 0, atol=1e-5)


def test_what_a_head_does_not_name_means_nothing_to_it(here):
    ours = set(settings(PRESETS["push"].adapter))  # means nothing to push
    for config, unused in ((PRESETS["push"], ours), (IMITATED["push"], set())):
        config = replaced(config, {"policy": "spline:spline"})
        check_any(config)
        assert idle(config) == unused | set(settings(config.primitive))
        with pytest.raises(UserError, match="--alpha means nothing to --policy spline:spline; le"):
            check_idle(config, ["chunk", "alpha"])


def test_clones_with_a_head_have_bars_beside_ours(here):
    rows = [figures.Success("push", policy, (0.5,)) for policy in ("ndp", "nn", "spline:spline")]
    figure = figures.draw_success(rows)
    axis = figure.axes[0]
    assert axis.get_legend_handles_labels()[1][:3] == ["spline", "nn", "ndp"]
    assert len({bar.get_x() for bar in axis.patches if bar.get_width()}) == 3
    plots.plt.close(figure)


def test_a_head_of_other_sizes_is_refused(here):
    Path("wrong.py").write_text("from configs import Head; three = Head(lambda env, config: 3)")
    config = replaced(PRESETS["push"], {"policy": "wrong:three"})
    with pytest.raises(UserError, match="wrong:three makes 3; it must make a Flax module with chu"):
        make_policy(probing.Probe(), config, hyperparameters(config))


def test_a_task_brings_its_preset(here):
    preset = PRESETS["my_task:Reach"]
    assert (preset.task, preset.episode_length) == ("my_task:Reach", 50)
    assert parse(["train", "my_task:Reach"]).config == preset
    assert (
        parse(["train", "--policy", "spline:spline", "my_task:Reach"]).config.episode_length == 50
    )
    assert run.default_name(preset) == "Reach-ndp-seed0"
    assert parse(["imitate", "my_task:Reach"]).config.episode_length == 50
    grid = parse(["sweep", "my_task:Reach", "--over.task", "my_task:Reach", "push"]).grid
    assert {member.config.episode_length for member in grid.members} == {50, 150}
    assert parse(["demos", "my_task:Reach"]).file == Path("demos/Reach.npz")


def test_a_task_may_leave_out_what_nobody_asks_for(here):
    Path("bare.py").write_text("from envs.push import Push\n\n\nclass Bare(Push):\n    pass\n")
    assert PRESETS["bare:Bare"] == TrainConfig(task="bare:Bare")
    assert demonstrations.noise_of("bare:Bare") == 0
    with pytest.raises(UserError, match="bare:Bare has no function `scripted` in its module"):
        make_controller("scripted", "bare:Bare", envs.make("bare:Bare"))


def test_a_preset_is_a_configuration(here):
    Path("bare.py").write_text(
        "from envs.push import Push\n\nPRESET = 3\n\n\nclass Bare(Push):\n    pass\n"
    )
    with pytest.raises(ValueError, match="PRESET in the module of bare:Bare must be a configs.Tr"):
        PRESETS["bare:Bare"]


def test_a_task_may_say_what_a_policy_and_the_paper_change(here):
    Path("bare.py").write_text(
        "from envs.push import Push\n\n\nclass Bare(Push):\n    pass\n\n\n"
        "BY_POLICY = {'ppo': {'gamma': 0.9}}\nPAPER = {'alpha': 7.0}\n"
    )
    assert preset("bare:Bare").ppo.gamma == 0.99
    assert preset("bare:Bare", "ppo").ppo.gamma == 0.9
    assert parse(["train", "bare:Bare", "--policy", "ppo"]).config.ppo.gamma == 0.9
    assert IMITATED["bare:Bare"].primitive.alpha == 7


def test_only_a_head_that_names_a_movement_first_explores_trajectories(here):
    trajectory = {"policy": "spline:spline", "explore": "trajectory"}
    config = replaced(PRESETS["push"], trajectory)
    assert isinstance(make_policy(probing.Probe(), config, hyperparameters(config)), ActorCritic)
    source = (here / "spline.py").read_text()
    (here / "wrong.py").write_text(source.replace("parameters(self", "numbers(self"))
    config = replaced(config, {"policy": "wrong:spline"})
    with pytest.raises(UserError, match="wrong:spline makes has no `parameters` and `actions`; ex"):
        make_policy(probing.Probe(), config, hyperparameters(config))


@pytest.mark.parametrize("policy", ["mine", "mine:HEAD", "configs:HEADS"])
def test_a_policy_is_known_before_anything_is_compiled(policy):
    with pytest.raises(UserError, match=policy) as caught:
        check_any(TrainConfig(task="push", policy=policy))
    assert "\n" not in str(caught.value)


def test_a_task_is_trained(here):
    words = ["train", "my_task:Reach", "--steps", "400", "--out", "short", *TINY]
    assert main(words) == 0
    assert metrics.read(Path("short"))["steps"] == [200, 400]
    assert json.loads(Path("short/config.json").read_text())["task"] == "my_task:Reach"


@pytest.mark.slow
def test_a_task_is_learned(here):
    assert main(["train", "my_task:Reach"]) == 0
    folder = Path("runs/Reach-ndp-seed0")
    assert json.loads((folder / "evaluation.json").read_text())["success"] > 0.9


@pytest.mark.slow
def test_a_task_is_trained_shown_cloned_and_filmed(here, renderer, capsys):
    assert main(["train", "my_task:Reach", "--steps", "400", *TINY]) == 0
    assert (here / "runs/Reach-ndp-seed0/video.mp4").stat().st_size > 0
    assert main(["demos", "my_task:Reach", "--episodes", "8"]) == 0
    assert demonstrations.load(here / "demos/Reach.npz", task="my_task:Reach").played < 12
    clone = ["--episodes", "8", "--steps", "20", "--num-envs", "4", "--eval-episodes", "4"]
    assert main(["imitate", "my_task:Reach", "--policy", "spline:spline", *clone]) == 0
    assert (here / "runs/Reach-clone-spline-seed0/evaluation.json").is_file()
    assert main(["render", "my_task:Reach", "--episodes", "1"]) == 0
    assert (here / "runs/Reach-scripted.mp4").stat().st_size > 0
