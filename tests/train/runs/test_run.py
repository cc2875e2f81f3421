import dataclasses
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from configs import IMITATED, PRESETS, CloneConfig, DigitsConfig, Network, TrainConfig
from train.runs import run
from train.sweeps.folder import fresh
from train.sweeps.grid import lay_out
from train.system.errors import UserError

CONFIG = PRESETS["push"]


def test_a_configuration_survives_the_file(tmp_path):
    config = dataclasses.replace(CONFIG, seed=7, network=Network(hidden=(8, 9, 10)))
    run.save_config(tmp_path, config, {"jax": "1"})
    assert run.load_config(tmp_path) == config
    assert json.loads((tmp_path / "config.json").read_text())["versions"] == {"jax": "1"}


def test_default_folders_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [run.fresh(CONFIG, None).as_posix() for _ in range(3)]
    assert names == [f"runs/push-ndp-seed0{suffix}" for suffix in ("", "-2", "-3")]


def at_the_same_moment(callers, ask):
    """What so many threads are given that ask at once: results and refusals."""
    barrier = threading.Barrier(callers)

    def asking(_):
        barrier.wait()
        try:
            return ask()
        except UserError as refusal:
            return refusal

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(asking, range(callers)))


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_callers_at_the_same_moment_share_no_folder(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    grid = lay_out([CONFIG], {}, seeds=2, samples=None)
    options = {"halving": False, "versions": {}}

    def ask(out):
        if kind == "run":
            return run.fresh(CONFIG, out)
        return fresh(grid, out, **options).folder

    for attempt in range(10):
        folders = at_the_same_moment(8, partial(ask, None))
        assert len(set(folders)) == 8
        answers = at_the_same_moment(8, partial(ask, tmp_path / f"out-{attempt}"))
        refusals = [answer for answer in answers if isinstance(answer, UserError)]
        assert len(refusals) == 7
        assert {str(refusal) for refusal in refusals} == {
            f"The output folder {tmp_path / f'out-{attempt}'} is not empty; choose another --out."
        }


def test_an_empty_folder_can_be_taken_once(tmp_path):
    assert run.fresh(CONFIG, tmp_path) == tmp_path
    with pytest.raises(UserError, match="is not empty"):
        run.fresh(CONFIG, tmp_path)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "keep").write_text("precious")
    with pytest.raises(UserError, match=r"is not empty; choose another --out"):
        run.fresh(CONFIG, tmp_path)
    assert (tmp_path / "keep").read_text() == "precious"


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; choose another --out"):
        run.fresh(CONFIG, tmp_path / "file" / "run")


def test_an_unwritable_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UserError, match="choose another --out"):
        run.fresh(CONFIG, tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no config.json"),
        ("{", "cannot be read"),
        ("[]", "it must hold settings by name"),
        ('{"task": "digits", "model": "cnn", "descent": {}, "tusk": 1}', "unknown setting 'tusk'"),
        ('{"task": "push", "descent": {"batch": 0}}', "--batch is 0; it must be greater than 0"),
        ('{"task": "push", "descent": 3}', "'descent' is 3; it must hold settings by name"),
        ('{"tusk": 1}', "unknown setting 'tusk'"),
        ('{"task": "push", "ppo": 3}', "'ppo' is 3; it must hold settings by name"),
        ('{"task": "push", "seed": "one"}', "--seed is 'one'; it must be a whole number"),
        ('{"task": "push", "policy": "ndq"}', "--policy is 'ndq'; it must be one of ndp"),
        ('{"task": "push", "chunk": 7}', "--chunk 7 does not divide the 150-step episode"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=problem):
        run.load_config(tmp_path)


def test_steps_can_only_be_raised(tmp_path):
    assert run.changed(CONFIG, {"steps": None}) == CONFIG
    assert run.changed(CONFIG, {"steps": CONFIG.steps + 1}).steps == CONFIG.steps + 1
    with pytest.raises(UserError, match="can only be raised"):
        run.changed(CONFIG, {"steps": CONFIG.steps - 1})
    with pytest.raises(UserError, match="is more than 2147483647 updates"):
        run.changed(CONFIG, {"steps": 10**20})
    run.save_config(tmp_path, CONFIG, {"jax": "1"})
    run.save_settings(tmp_path, run.changed(CONFIG, {"steps": 3 * CONFIG.steps}))
    assert run.load_config(tmp_path) == dataclasses.replace(CONFIG, steps=3 * CONFIG.steps)
    assert json.loads((tmp_path / "config.json").read_text())["versions"] == {"jax": "1"}


def test_who_computes_the_physics_can_be_changed(tmp_path):
    changed = run.changed(CONFIG, {"impl": "jax", "threads": None})
    assert changed == dataclasses.replace(CONFIG, impl="jax")
    with pytest.raises(UserError, match="--impl is 'C'; it must be one of auto, jax, c, warp"):
        run.changed(CONFIG, {"impl": "C"})
    with pytest.raises(UserError, match="--impl means nothing to a run of digits; leave it out"):
        run.changed(IMITATED["digits"], {"impl": "c"})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    run.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        run.write_json(path, {"a": TrainConfig})
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize("task", IMITATED)
def test_an_imitation_survives_the_file_and_can_be_continued(tmp_path, task):
    config = IMITATED[task]
    run.save_config(tmp_path, config, {"jax": "1"})
    assert run.load_imitation(tmp_path) == run.load_any(tmp_path) == config
    with pytest.raises(UserError, match=r"is of `ndp imitate`; give one of `ndp train`"):
        run.load_config(tmp_path)
    steps = config.descent.steps + 1
    raised = run.changed(config, {"steps": steps})
    assert raised.descent == dataclasses.replace(config.descent, steps=steps)
    run.save_settings(tmp_path, raised)
    assert run.load_imitation(tmp_path) == raised
    assert json.loads((tmp_path / "config.json").read_text())["versions"] == {"jax": "1"}
    with pytest.raises(UserError, match=rf"--steps 1 is less than the run's {steps - 1}"):
        run.changed(config, {"steps": 1})


def test_a_run_of_reinforcement_learning_is_no_imitation(tmp_path):
    run.save_config(tmp_path, CONFIG, {})
    assert run.load_any(tmp_path) == CONFIG
    with pytest.raises(UserError, match=r"is of `ndp train`; give one of `ndp imitate`"):
        run.load_imitation(tmp_path)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (DigitsConfig(model="mlp-ndp", seed=2), "digits-mlp-ndp-seed2"),
        (CloneConfig(task="push"), "push-clone-ndp-seed0"),
        (CloneConfig(task="push", policy="nn", observation="image"), "push-clone-nn-image-seed0"),
    ],
)
def test_the_folder_of_an_imitation_is_named_by_what_it_learns(tmp_path, monkeypatch, config, name):
    monkeypatch.chdir(tmp_path)
    assert run.fresh(config, None).as_posix() == f"runs/{name}"
    assert run.fresh(config, None).as_posix() == f"runs/{name}-2"
