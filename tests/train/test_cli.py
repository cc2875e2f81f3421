"""The command line as a user meets it."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import imageio
import imageio_ffmpeg
import numpy as np
import pytest
from sketch import Sketch

import envs
import ndp_jax
from configs import HEADS, IMITATED, PRESETS, preset
from configs.fields import flag, replaced, settings
from envs import camera
from train.cli import main
from train.commands import tasks
from train.commands.command import start
from train.commands.parsing import parse
from train.commands.resume import Resume
from train.rl import train as rl
from train.runs import metrics, run
from train.sweeps.folder import fresh
from train.sweeps.grid import lay_out
from train.system.errors import Interrupted, Stopped, UserError


def refuse(capsys, *arguments):
    """Exit code 2 and the message."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_task_selects_the_preset_and_options_override_it():
    command = parse(["train", "push", "--policy", "ppo", "--seed", "3", "--alpha", "15"])
    config = command.config
    assert (config.task, config.policy, config.seed, config.primitive.alpha) == (
        "push",
        "ppo",
        3,
        15.0,
    )


@pytest.mark.parametrize("task", envs.TASKS)
@pytest.mark.parametrize("policy", HEADS)
@pytest.mark.parametrize("name", ["tuned", "paper"])
def test_task_policy_and_name_select_the_preset(task, policy, name):
    words = ["--policy", policy, f"--preset={name}"]
    expected = preset(task, policy, paper=name == "paper")
    command = parse(["train", *words, task])
    command.check()
    assert command.config == expected
    members = parse(["sweep", task, *words, "--seeds", "2"]).grid.members
    assert [member.config for member in members] == [expected, replaced(expected, {"seed": 1})]


def test_the_papers_preset_has_the_papers_settings():
    config = parse(["train", "throw", "--preset", "paper", "--clip", "0.3"]).config
    assert (config.primitive.n_basis, config.primitive.alpha, config.explore) == (5, 5, "actions")
    assert (config.ppo.learning_rate, config.ppo.clip) == (3e-4, 0.3)
    with pytest.raises(UserError, match="--config and --preset both name settings to start from"):
        start(config, "paper", Path("config.json"))


def test_every_policy_of_a_sweep_has_its_own_preset():
    words = ["--over.policy", "ndp", "ppo-multi", "--over.lr", "1e-3", "1e-4", "--num-envs", "64"]
    grid = parse(["sweep", "push", "--over.task", "push", "pick", *words]).grid
    assert grid.over == ("task", "policy", "learning_rate")
    for number, (_, config) in enumerate(grid.members):
        lr = (1e-3, 1e-4)[number % 2]
        own = preset(config.task, config.policy)
        assert config == replaced(own, {"learning_rate": lr, "num_envs": 64})
    shown = [(config.task, config.policy) for _, config in grid.members[::2]]
    assert shown == [(task, policy) for task in ("push", "pick") for policy in ("ndp", "ppo-multi")]


def test_a_file_of_settings_takes_the_place_of_the_preset(tmp_path):
    config = replaced(PRESETS["soccer"], {"alpha": 7.0, "seed": 3, "num_envs": 32})
    run.save_config(tmp_path, config, {"jax": "1"})
    file = str(tmp_path / "config.json")
    assert parse(["train", "--config", file]).config == config
    assert parse(["train", "soccer", f"--config={file}", "--seed", "4"]).config == replaced(
        config, {"seed": 4}
    )
    members = parse(["sweep", "--config", file, "--seeds", "2"]).grid.members
    assert [member.config for member in members] == [config, replaced(config, {"seed": 4})]


def test_a_file_may_hold_what_its_policy_does_not_need(tmp_path, monkeypatch):
    """As the best of a sweep over policies does."""
    monkeypatch.chdir(tmp_path)
    run.save_config(tmp_path, replaced(PRESETS["push"], {"policy": "ppo", "alpha": 7.0}), {})
    parse(["train", "--config", "config.json"]).check()
    with pytest.raises(UserError, match="--alpha means nothing to --policy ppo"):
        parse(["train", "--config", "config.json", "--alpha", "8"]).check()


def test_a_sweep_understands_its_values():
    words = ["--over.lr", "1e-4", "1e-3", "--clip", "0.1", "--over.task", "push", "soccer"]
    grid = parse(["sweep", "push", *words, "--seeds", "2"]).grid
    assert grid.over == ("task", "learning_rate")
    assert len(grid.members) == 8
    assert {member.config.ppo.clip for member in grid.members} == {0.1}
    assert grid.members[-1].config == replaced(
        PRESETS["soccer"], {"learning_rate": 1e-3, "clip": 0.1, "seed": 1}
    )
    drawn = parse(
        ["sweep", "push", "--over.initial-log-std", "uniform", "-1", "0", "--samples", "5"]
    )
    assert [member.setting for member in drawn.grid.members] == [0, 1, 2, 3, 4]
    assert all(-1 < member.config.network.initial_log_std < 0 for member in drawn.grid.members)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "pusk"], "There is no task 'pusk'; did you mean 'push'?"),
        (
            ["train", "push", "--policy", "ndq"],
            "prodmp, ppo-multi, ppo (did you mean ndp?), or",
        ),
        (["train", "push", "--policy", "no.where:HEAD"], "There is no module 'no' for no.where:HE"),
        (["train", "push", "--policy", "configs:HEAD"], "There is no 'HEAD' in the module of conf"),
        (["train", "push", "--policy", "configs:PPO"], "configs:PPO is no policy; name a configs"),
        (["train", "nowhere:Task"], "There is no module 'nowhere' for nowhere:Task; go to the fol"),
        (["train", "configs:PPO"], "configs:PPO is no task; name a class that is an envs.base.Mj"),
        (["demos", "pusk"], "There is no task 'pusk'; did you mean 'push'?"),
        (["demos", "nowhere:Task"], "There is no module 'nowhere' for nowhere:Task; go to"),
        (["imitate", "nowhere:Task"], "There is no module 'nowhere' for nowhere:Task; go to"),
        (["render", "nowhere:Task"], "There is no module 'nowhere' for nowhere:Task; go to"),
        (["train", "push", "--sed", "1"], "Unrecognized options: --sed"),
        (["train", "push", "--steps", "many"], "Error parsing --steps"),
        (["train", "push", "--chunk", "7"], "--chunk 7 does not divide the 150-step episode"),
        (["train", "push", "--num-envs", "0"], "--num-envs is 0; it must be greater than 0"),
        (["train", "push", "--minibatches", "7"], "--minibatches 7 does not divide the batch"),
        (["evaluate", "nowhere"], "There is no run folder nowhere."),
        (["evaluate", "nowhere", "--episodes", "0"], "--episodes is 0"),
        (["render", "nowhere"], "There is no run folder or task 'nowhere'; did you mean"),
        (["render", "."], "is not a run folder: it has no config.json."),
        (
            ["render", "pusk", "--controller", "zero"],
            "There is no task 'pusk'; did you mean 'push'?",
        ),
        (["render", "push", "--controller", "zorro"], "invalid choice 'zorro'"),
        (["render", "push", "--episodes", "0"], "--episodes is 0"),
        (["render", "push", "--out", "film.avi"], "it must end in .mp4, .gif, .png."),
        (["render", "push", "--which", "3"], "--which needs a run, and push is a task."),
        (["render", "push", "--near"], "--near needs a run, and push is a task."),
        (["render", "push", "--at", "3"], "--at is for pictures; give an --out that ends in .png"),
        (["train", "--resume"], "--resume needs a folder"),
        (["train", "--resume", "nowhere"], "There is no run folder nowhere."),
        (["train", "--resume", "nowhere", "--seed", "1"], "--seed cannot be given with --resume"),
        (
            ["sweep", "push", "--over.lrr", "1"],
            "no setting 'lrr' to sweep; did you mean '--over.le",
        ),
        (["sweep", "push", "--over.lr"], "--over.learning_rate names no values"),
        (["sweep", "push", "--over.lr", "1e-3", "--over.learning-rate", "1"], "comes twice"),
        (["sweep", "push", "--over.chunk", "2.5"], "--over.chunk is 2.5; it must be a whole"),
        (["sweep", "push", "--over.chunk", "5", "7"], "--chunk 7 does not divide the 150-step"),
        (["sweep", "push"], "Nothing is swept; name values with --over.NAME"),
        (["sweep", "pusk", "--seeds", "2"], "There is no task 'pusk'; did you mean 'push'?"),
        (["sweep", "push", "--over.task", "push", "pusk"], "There is no task 'pusk'; did you"),
        (["sweep", "push", "--over.policy", "ndp", "ppo", "--halving"], "--halving compares"),
        (["sweep", "push", "--seeds", "2", "--devices", "0"], "--devices is 0"),
        (["sweep", "push", "--policy", "ppo", "--alpha", "20", "--seeds", "2"], "--alpha means"),
        (["sweep", "push", "--over.task", "throw", "soccer"], "push is not among --over.task"),
        (["sweep", "--resume", "nowhere"], "There is no run folder nowhere."),
        (["sweep", "--resume", "nowhere", "--seeds", "2"], "--seeds cannot be given with --resume"),
        (["study", "--tasks", "pusk"], "There is no task 'pusk'; did you mean 'push'?"),
        (["study", "--seeds", "1"], "--seeds is 1; give at least 2"),
        (["study", "--devices", "0"], "--devices is 0"),
        (["study", "--resume", "nowhere"], "There is no run folder nowhere."),
        (["study", "--resume", "nowhere", "--quick"], "--quick cannot be given with --resume"),
        (["study", "--plot", "nowhere"], "There is no file nowhere/evaluations.csv; give a folder"),
        (["study", "--plot", "one", "two"], "--plot of several folders needs --out"),
        (["train", "--config", "nowhere"], "There is no file nowhere."),
        (["train", "push", "--config"], "--config needs a file"),
        (["train", "push", "--resume=nowhere"], "Leave out 'push': with --resume the run says"),
        (["train", "--resume", "nowhere", "--steps", "many"], "Error parsing --steps"),
        (["export", "nowhere"], "There is no run folder nowhere."),
        (["evaluate", "nowhere", "--checkpoint", "worst"], "invalid choice 'worst'"),
        (["plot", "nowhere", "--statistic", "median"], "invalid choice 'median'"),
        (["train", "push", "--alpha", "160"], "--alpha is 160.0; it must lie between 0.5 and 30."),
        (["bench", "push", "sucker"], "There is no task 'sucker'; did you mean 'soccer'?"),
        (["bench", "--num-envs", "0"], "--num-envs is 0"),
        (["bench", "push", "--suite", "dmp"], "push means nothing to --suite dmp; leave it out."),
        (["bench", "--suite", "env", "--members", "4"], "--members means nothing to --suite env"),
        (["bench", "--suite", "sweep", "--members", "0"], "--members is 0; it must be greater"),
        (["bench", "--suite", "train", "--num-envs", "5"], "--minibatches 32 does not divide"),
        (["plot", "nowhere"], "There is no run folder nowhere."),
        (["trian", "push"], "There is no command 'trian'; did you mean 'train'?"),
        (["render", "runs/nope"], "There is no run folder runs/nope."),
        (["plot"], "Name at least one run folder to plot."),
        (["imitate", "pusk"], "There is no task 'pusk'; did you mean 'push'?"),
        (["imitate", "didgits", "--model", "cnn"], "did you mean 'digits'?"),
        (["imitate", "digits", "--model", "mlp"], "invalid choice 'mlp' for argument '--model'"),
        (["imitate", "push", "--model", "cnn"], "Unrecognized options: --model"),
        (["imitate", "digits", "--batch", "0"], "--batch is 0; it must be greater than 0"),
        (["imitate", "digits", "--model", "cnn", "--alpha", "9"], "--alpha means nothing to --mod"),
        (["imitate", "digits", "--shift", "-1"], "--shift is -1; it must not be negative"),
        (["imitate", "digits", "--n-basis", "300"], "--n-basis is 300; the 301 samples of a stro"),
        (["imitate", "push", "--policy", "nn", "--n-basis", "9"], "--n-basis means nothing to --p"),
        (["imitate", "push", "--demos", "nowhere"], "--demos is nowhere, but there is no such"),
        (["imitate", "digits", "--data", "nowhere"], "--data is nowhere, but there is no such"),
        (["imitate", "--config", "nowhere"], "There is no file nowhere."),
        (["imitate", "--resume", "nowhere"], "There is no run folder nowhere."),
        (["imitate", "digits", "--over.modle", "cnn"], "did you mean '--over.model'?"),
        (["imitate", "push", "--over.model", "cnn"], "There is no setting 'model' to sweep"),
        (["imitate", "digits", "--over.model", "cnn", "mlp"], "--model is 'mlp'; it must be one"),
        (
            ["imitate", "digits", "--over.batch", "9", "99999"],
            "--batch 99999 is more than the 2000",
        ),
        (
            ["imitate", "digits", "--over.lr", "uniform", "1", "2"],
            "--over.learning_rate is a range",
        ),
        (["imitate", "digits", "--seeds", "0"], "--seeds is 0; it must lie between 1 and 4096."),
        (["imitate", "digits", "--over.seed", "1", "2"], "seed is not swept; give --seeds"),
        (
            ["imitate", "--over.task", "push", "pusk"],
            "There is no task 'pusk'; did you mean 'push'?",
        ),
        (["imitate", "--over.task", "push", "digits"], "digits have other settings than robot"),
        (["imitate", "throw", "--over.task", "pick", "push"], "throw is not among --over.task;"),
        (
            ["imitate", "digits", "--over.model", "cnn", "cnn-ndp", "--over.alpha", "9"],
            "--alpha means nothing to --model cnn; leave it out.",
        ),
        (
            ["imitate", "push", "--policy", "nn", "--n-basis", "9", "--seeds", "2"],
            "--n-basis means nothing to --policy nn; leave it out.",
        ),
        (
            ["imitate", "push", "--demos", "nowhere", "--seeds", "2"],
            "--demos is nowhere, but there",
        ),
        (["imitate", "--resume", "nowhere", "--batch", "9"], "--batch cannot be given with --res"),
        (["imitate", "digits", "--resume=nowhere"], "Leave out 'digits': with --resume the run"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    capsys, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert sentence in refuse(capsys, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a run that has not begun."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    run.save_config(tmp_path / "run", PRESETS["push"], {})
    return "run"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "throw", "--config", "run/config.json"], "is of the task push; leave out 't"),
        (["sweep", "push", "--seeds", "2", "--out", "run"], "run is not empty; choose another"),
        (["train", "--resume", "run", "--steps", "5"], "--steps 5 is less than the run's 750000"),
        (["train", "--resume", "run", "--steps", "9" * 20], "is more than 2147483647 updates"),
        (["train", "push", "--out", "run/config.json"], "run/config.json is a file; choose"),
        (["train", "push", "--policy", "ppo", "--alpha", "15"], "--alpha means nothing to --pol"),
        (
            ["train", "push", "--policy", "prodmp", "--method", "scan"],
            "--method means nothing to",
        ),
        (["train", "push", "--policy", "ppo", "--chunk", "3"], "--chunk means nothing to --policy"),
        (["evaluate", "run"], "run holds no checkpoint yet."),
        (["evaluate", "run", "--episodes", "9" * 9], "it must be greater than 0 and at most 65536"),
        (["render", "run", "--at", "151", "--out", "a.png"], "--at names step 151; give 1 to 150."),
        (["render", "run", "--controller", "zero"], "--controller needs a task, and run is a run"),
        (["render", "run", "--which", "1", "2", "--out", "a.png"], "a .png shows one; name one"),
        (["render", "run", "--which", "-1"], "--which names -1; give episodes from 0 to"),
        (["render", "run", "--seed", "9" * 20], "it must lie between 0 and 4294967295."),
        (["render", "run", "--out", "run/config.json/a.mp4"], "run/config.json is a file"),
        (["export", "run", "--out", "run"], "--out is run, which is a folder; name a file."),
        (["plot", "run", "--out", "curves"], "--out is curves; it must end in .png, .pdf, .svg."),
    ],
)
def test_what_cannot_work_with_a_run_is_refused(capsys, folder, arguments, sentence):
    before = Path(folder, "config.json").read_bytes()
    assert sentence in refuse(capsys, *arguments)
    assert Path(folder, "config.json").read_bytes() == before
    assert [path.name for path in Path(folder).iterdir()] == ["config.json"]


@pytest.fixture
def imitations(tmp_path, monkeypatch):
    """Folders of imitations that have not begun, and one of reinforcement learning."""
    monkeypatch.chdir(tmp_path)
    for name, config in {**IMITATED, "rl": PRESETS["push"]}.items():
        (tmp_path / name).mkdir()
        run.save_config(tmp_path / name, config, {})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resume", "digits", "--wandb"], "--wandb cannot be given for digits, an imitation; lea"),
        (
            ["imitate", "--resume", "digits", "--steps", "5"],
            "--steps 5 is less than the run's 10000; they",
        ),
        (["imitate", "--resume", "push", "--steps", "9" * 20], "it must be at most 2147483647."),
        (["train", "--config", "push/config.json"], "push/config.json is of `ndp imitate`; give"),
        (["imitate", "--config", "rl/config.json"], "rl/config.json is of `ndp train`; give one"),
        (["imitate", "push", "--config", "digits/config.json"], "of the task digits; leave out 'p"),
        (["imitate", "digits", "--out", "rl"], "rl is not empty; choose another --out."),
        (["evaluate", "digits", "--stochastic"], "--stochastic means nothing to digits, a run of"),
        (["evaluate", "push", "--episodes", "9"], "--episodes means nothing to push, a run of"),
        (["render", "digits", "--which", "3"], "--which means nothing to the digits of digits."),
        (["render", "digits", "--near"], "--near means nothing to the digits of digits."),
        (["render", "digits", "--out", "a.mp4"], "it must end in .png, .pdf, .svg."),
        (["render", "push", "--at", "151", "--out", "a.png"], "--at names step 151; give 1 to 150"),
        (["plot", "digits", "rl"], "digits and rl measure different things; plot them one after"),
        (["plot", "push", "digits"], "push and digits measure different things; plot them one"),
    ],
)
def test_what_cannot_work_with_an_imitation_is_refused(capsys, imitations, arguments, sentence):
    assert sentence in refuse(capsys, *arguments)
    assert len(list(imitations.rglob("*.*"))) == len(IMITATED) + 1


@pytest.mark.parametrize("task", IMITATED)
def test_the_task_selects_what_an_imitation_starts_from(task):
    command = parse(["imitate", task, "--seed", "3", "--steps", "20", "--hidden", "8"])
    expected = {"seed": 3, "steps": 20, "hidden": (8,)}
    assert command.config == replaced(IMITATED[task], expected)


def test_a_file_of_settings_takes_the_place_of_an_imitations_defaults(tmp_path):
    config = replaced(IMITATED["digits"], {"model": "cnn", "n_basis": 10, "batch": 7})
    run.save_config(tmp_path, config, {})
    file = str(tmp_path / "config.json")
    assert parse(["imitate", "--config", file]).config == config
    command = parse(["imitate", "digits", f"--config={file}", "--seed", "4"])
    assert command.config == replaced(config, {"seed": 4})
    command.check()


def test_a_sweep_of_imitations_understands_its_values():
    words = ["--over.model", "cnn-ndp", "cnn", "--over.lr", "1e-3", "2e-3", "--batch", "50"]
    command = parse(["imitate", "digits", *words, "--seeds", "2", "--out", "new"])
    command.check()
    assert command.grid.over == ("model", "learning_rate") and command.out == Path("new")
    assert len(command.grid.members) == 8
    assert command.grid.members[-1].config == replaced(
        IMITATED["digits"], {"model": "cnn", "learning_rate": 2e-3, "batch": 50, "seed": 1}
    )
    seeds = parse(["imitate", "digits", "--seeds", "3"]).grid
    assert [member.config.seed for member in seeds.members] == [0, 1, 2]
    for words in ([], ["push"]):
        command = parse(["imitate", *words, "--over.task", "push", "soccer", "--over.policy", "nn"])
        command.check()
        assert [member.config for member in command.grid.members] == [
            replaced(IMITATED[task], {"policy": "nn"}) for task in ("push", "soccer")
        ]
    assert parse(["imitate", "push"]).grid is None


@pytest.fixture
def sweeps(imitations):
    """Sweeps that have not begun: one of digits, one of reinforcement learning."""
    for name, config in (("sweep", IMITATED["digits"]), ("rl-sweep", PRESETS["push"])):
        grid = lay_out([config], {}, seeds=2, samples=None)
        fresh(grid, imitations / name, halving=False, versions={})
    return imitations


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resume", "rl-sweep", "--steps", "9"], "--steps cannot be given for rl-sweep, a sweep;"),
        (
            ["resume", "sweep", "--devices", "2"],
            "--devices cannot be given for sweep, a sweep of i",
        ),
        (["imitate", "--resume", "sweep", "--steps", "9"], "--steps cannot be given for sweep, a"),
        (["imitate", "--resume", "sweep", "--seeds", "9"], "--seeds cannot be given with --resume"),
        (["imitate", "digits", "--seeds", "2", "--out", "sweep"], "sweep is not empty; choose"),
    ],
)
def test_sweeps_are_continued_as_they_are(capsys, sweeps, arguments, sentence):
    assert sentence in refuse(capsys, *arguments)


@pytest.mark.parametrize("verb", ["train", "sweep", "imitate"])
def test_resuming_is_one_command_however_it_is_spelled(verb):
    command = parse(["resume", "push", "--steps", "9"])
    assert command == Resume(Path("push"), steps=9)
    assert parse([verb, "--resume", "push", "--steps", "9"]) == command
    assert parse([verb, "--steps=9", "--resume=push"]) == command


def test_a_sweep_of_both_kinds_is_refused(capsys, sweeps):
    (member,) = sweeps.glob("sweep/members/*seed1")
    run.save_config(member, PRESETS["push"], {})
    assert "has members of `ndp train` and" in refuse(capsys, "imitate", "--resume", "sweep")


def test_imitations_are_drawn(capsys, imitations):
    for steps, error in ((0, 9.0), (1000, 1.0)):
        metrics.append(Path("push", metrics.EVALUATIONS), {"steps": steps, "error": error})
    timing = {"steps": 1000, "seconds": 9.0, "evaluating": 1.0, "saving": 1.0}
    metrics.append(Path("push", metrics.TIMING), timing)
    assert main(["plot", "push"]) == 0
    assert "Wrote curves.png" in capsys.readouterr().out
    assert imageio.v3.imread("curves.png").std() > 5
    assert "digits/evaluations.csv has no column steps" in refuse(capsys, "plot", "digits")


def test_a_package_that_is_missing_is_named_before_a_folder_is_made(capsys, folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for arguments in (["train", "push", "--out", "new"], ["train", "--resume", "run"]):
        assert "run `pip install wandb`" in refuse(capsys, *arguments, "--wandb")
    assert not Path("new").exists()


def test_a_run_that_is_named_like_a_task_can_be_resumed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "There is no run folder push." in refuse(capsys, "train", "--resume", "push")


def test_a_folder_in_use_is_left_alone(capsys, tmp_path):
    (tmp_path / "keep").write_text("precious")
    message = refuse(capsys, "train", "push", "--out", str(tmp_path))
    assert "is not empty; choose another --out." in message
    assert [file.name for file in tmp_path.iterdir()] == ["keep"]


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_task_has_a_preset(task):
    assert parse(["train", task]).config == PRESETS[task]
    assert PRESETS[task].task == task


def test_tasks_are_listed_with_what_their_modules_say(capsys, monkeypatch):
    monkeypatch.setattr(envs, "TASKS", ("push",))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["tasks"]) == 0
    row = [line for line in capsys.readouterr().out.splitlines() if "push" in line]
    cells = ("push", "9", "3", "150 of 0.05 s", "slide a puck over the table to a goal")
    assert re.split(r"\s{2,}", row[0].strip()) == [
        *cells,
        "the object lies within 7 cm of the goal",
    ]


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_task_tells_what_it_is_and_when_it_is_solved(task):
    module = getattr(envs, task)
    sentence = tasks.first_sentence(module)
    assert sentence.startswith(f"{task.capitalize()}: ")
    assert tasks.first_sentence(module.success).startswith("Whether ")


def test_a_folder_wins_over_the_task_of_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "push").mkdir()
    assert "push is not a run folder" in refuse(capsys, "render", "push")


@pytest.mark.usefixtures("renderer")
def test_a_controller_is_filmed(capsys, tmp_path, monkeypatch):
    """Every step of as many episodes as wanted, of which no two start alike."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(envs, "make", lambda task, **options: Sketch(episode_length=1))
    assert main(["render", "push", "--controller", "zero", "--episodes", "2"]) == 0
    assert main(["render", "push"]) == 0
    assert "Wrote runs/push-zero.mp4" in capsys.readouterr().out
    films = {path.name: frames_of(path) for path in (tmp_path / "runs").iterdir()}
    assert {name: len(frames) for name, frames in films.items()} == {
        "push-zero.mp4": 2,
        "push-scripted.mp4": 4,
    }
    for frames in films.values():
        assert np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)).min() > 60


def frames_of(film):
    decoder = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", film, "-pix_fmt", "rgb24", "-f", "rawvideo"]
    raw = subprocess.run([*decoder, "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).astype(int).reshape(-1, camera.HEIGHT, camera.WIDTH, 3)


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize(("controller", "moves"), [("scripted", True), ("zero", False)])
def test_who_acts_is_seen_in_a_picture(tmp_path, monkeypatch, controller, moves):
    """The puck, alone blue, in the first and the last of 150 steps."""
    monkeypatch.setattr(envs, "make", lambda task, **options: Sketch())
    out, at = ["--out", str(tmp_path / "new" / "a.png")], ["--at", "1", "150"]
    assert main(["render", "push", "--controller", controller, *out, *at]) == 0
    picture = imageio.v3.imread(tmp_path / "new" / "a.png").astype(int)
    red, green, blue = np.moveaxis(picture, -1, 0)
    places = [
        np.argwhere(half).mean(axis=0)
        for half in np.split((blue > 100) & (blue > red + 60) & (blue > green + 15), 2, axis=1)
    ]
    assert (np.linalg.norm(places[1] - places[0]) > 8) == moves


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (None, 0),
        (Stopped("The disk is full."), 1),
        (OSError(28, "No space left on device", "here"), 1),
        (UserError("There is no such thing."), 2),
        (Interrupted("Stopped.", signal=signal.SIGINT), 130),
        (Interrupted("Stopped.", signal=signal.SIGTERM), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(capsys, folder, monkeypatch, ending, code):
    def resume(*_, **__):
        if ending:
            raise ending
        return Path(folder)

    monkeypatch.setattr(rl, "resume", resume)
    assert main(["train", "--resume", folder]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.count("\n") == (code in (1, 2))


QUICK = [
    ["--help"],
    ["train", "--help"],
    ["train", "pusk"],
    ["train", "push", "--sed", "1"],
    ["train", "pick", "--chunk", "7"],
    ["train", "--resume", "nowhere"],
    ["sweep", "push", "--over.lr", "1e-3", "1e-4", "--over.chunk", "7"],
    ["study", "--tasks", "push", "--over.chunk", "7"],
    ["evaluate", "nowhere"],
    ["render", "nowhere"],
    ["plot", "nowhere"],
    ["imitate", "push", "--help"],
    ["imitate", "digits", "--batch", "0"],
    ["imitate", "--resume", "nowhere"],
    ["imitate", "digits", "--over.model", "cnn", "mlp"],
]


def test_help_and_mistakes_answer_before_anything_heavy_is_imported():
    """All in one process, as what one imports stays there."""
    script = """
import json, sys
from train.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit:
        pass
    heavy = {"jax", "numpy", "flax", "brax", "mujoco", "orbax", "matplotlib"} & sys.modules.keys()
    assert not heavy, (arguments, heavy)
"""
    command = [sys.executable, "-c", script, json.dumps(QUICK)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == 3 and done.stderr.count("ndp: ") > 5


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (["train"], PRESETS["push"]),
        (["imitate"], IMITATED["digits"]),
        (["imitate", "throw"], IMITATED["throw"]),
    ],
)
def test_help_names_every_setting_with_default_and_help(capsys, arguments, config):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert not stop.value.code
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, value in settings(config).items():
        if name != "task":
            default = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            default = default or "''"
            assert re.search(rf"{flag(name)} .*?[a-z] .*?\(default: {re.escape(default)}\)", shown)


def test_help_tells_ranges(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(beta = alpha/4). (0.5 to 30) (default: 5.0)" in shown
    assert "(0 to 1) (default: 0.99)" in shown


@pytest.mark.slow
def test_a_run_from_training_to_video(capsys, tmp_path):
    """Every command once, on a run too short to learn."""
    folder = tmp_path / "run"
    arguments = ["--steps", "4800", "--num-envs", "16", "--eval-episodes", "20"]
    assert main(["train", "push", "--out", str(folder), *arguments]) == 0
    assert main(["train", "--resume", str(folder), "--steps", "7200"]) == 0
    assert main(["evaluate", str(folder), "--episodes", "10", "--stochastic"]) == 0
    assert main(["evaluate", str(folder), "--episodes", "10", "--checkpoint", "best"]) == 0
    assert main(["export", str(folder)]) == 0
    assert main(["render", str(folder), "--which", "1"]) == 0
    assert main(["plot", str(folder), "--out", str(tmp_path / "curves.png")]) == 0
    assert "Deterministic success 0.0" in capsys.readouterr().out
    assert json.loads((folder / "evaluation.json").read_text())["episodes"] == 20
    assert json.loads((folder / "evaluation-stochastic.json").read_text())["episodes"] == 10
    assert json.loads((folder / "evaluation-best.json").read_text())["episodes"] == 10
    assert metrics.read(folder)["steps"] == [2400, 4800, 7200]
    policy = ndp_jax.load_policy(folder / "policy.msgpack")
    assert policy(np.zeros(9)).shape == (5, 3)
    for file in ("curve.png", "video.mp4", "metrics.csv", "timing.csv", "config.json"):
        assert (folder / file).stat().st_size > 0
