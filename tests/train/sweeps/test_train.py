"""A sweep leaves what single runs would have left, also if it was interrupted."""

import csv
import dataclasses
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import probes
import pytest
import swept
import trained
from rich.console import Console

from configs.fields import replaced, settings
from train.rl import memory
from train.rl.agent import hyperparameters
from train.rl.evaluate import held_out_key, make_player, summarize
from train.rl.population import Population
from train.rl.ppo import make_learner
from train.rl.train import evaluation_due
from train.runs import checkpoint, metrics, run
from train.sweeps import table
from train.sweeps import train as sweeps
from train.sweeps.folder import Run, fresh, load
from train.sweeps.grid import lay_out
from train.system.errors import Interrupted, UserError

TABLES = ("table.csv", "settings.csv", "table.json", "best.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return swept.run(tmp_path_factory.mktemp("sweep") / "whole")


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def state_of(member):
    learner = make_learner(probes.RewardFromBoth(), member.config)
    template = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(member.config))
    with checkpoint.open_manager(member.folder, read_only=True) as manager:
        return checkpoint.restore(manager, template, config=member.config)


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 6))])
def test_a_member_is_the_run_that_was_trained_alone(whole, tmp_path, number):
    """Up to rounding: products of a batch of runs add up in another order. Here, without contacts,
    that stays small; in contact, physics makes a last digit a centimetre within an episode."""
    member = whole.runs[number]
    state, _ = trained.learn(tmp_path, member.config)
    steps, found, _ = state_of(member)
    assert steps == 320
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        found.params,
        state.params,
    )
    for file in ("metrics.csv", "evaluations.csv"):
        mine, expected = metrics.read(member.folder, file), metrics.read(tmp_path, file)
        assert mine.keys() == expected.keys()
        for name, values in mine.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    play = make_player(probes.RewardFromBoth(), member.config)
    summary = summarize(play(state, held_out_key(member.config.seed), episodes=12))
    evaluation = json.loads((member.folder / "evaluation.json").read_text())
    for name, value in summary.items():
        assert evaluation[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_the_table_has_a_row_for_every_member(whole):
    found = rows(whole.folder / "table.csv")
    assert [(r["learning_rate"], r["policy"], r["seed"]) for r in found] == [
        (rate, policy, seed)
        for rate in ("0.001", "0.01")
        for policy in ("ppo-multi", "ppo")
        for seed in "01"
    ]
    for row, member in zip(found, whole.runs, strict=True):
        evaluation = json.loads((member.folder / "evaluation.json").read_text())
        assert float(row["returns"]) == evaluation["returns"]
        assert evaluation["episodes"] == 12
        success = metrics.read(member.folder)["success"]
        assert float(row["area"]) == pytest.approx(np.nanmean(success))
    settings = rows(whole.folder / "settings.csv")
    assert {row["seeds"] for row in settings} == {"2"} and len(settings) == 4
    assert json.loads((whole.folder / "table.json").read_text()).keys() == {"members", "settings"}


def test_the_best_setting_can_be_trained(whole):
    config = run.read_config(whole.folder / "best.json")
    first = rows(whole.folder / "settings.csv")[0]
    assert str(config.ppo.learning_rate) == first["learning_rate"]
    assert config.policy == first["policy"]
    assert config == table.best(whole).config


def test_it_leaves_figures_and_runs_and_nothing_else(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names == {*TABLES, "sweep.json", "members", "curves.png", "sweep.png"}
    for member in whole.runs:
        assert run.load_config(member.folder) == member.config


def interrupted(monkeypatch, folder, *, updates):
    """A sweep that a signal ends after `updates` updates of its second group."""
    seen = []

    def due(config, steps):
        seen.append(steps)
        if len(seen) == 8 + updates:
            signal.raise_signal(signal.SIGTERM)
        return evaluation_due(config, steps)

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "evaluation_due", due)
        with pytest.raises(Interrupted, match="To continue: ndp sweep --resume"):
            swept.run(folder)


@pytest.mark.parametrize("updates", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_an_interrupted_sweep_ends_with_the_same_tables(whole, monkeypatch, tmp_path, updates):
    folder = tmp_path / "whole"
    interrupted(monkeypatch, folder, updates=updates)
    assert not (folder / "table.csv").exists()
    done = swept.run(folder)
    for name in (*TABLES[:3],):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    for mine, expected in zip(done.runs, whole.runs, strict=True):
        for file in ("metrics.csv", "evaluations.csv", "evaluation.json"):
            assert (mine.folder / file).read_bytes() == (expected.folder / file).read_bytes()


@pytest.mark.slow
def test_what_a_sweep_trains_at_once_does_not_change_when_memory_does(whole, monkeypatch, tmp_path):
    folder = tmp_path / "whole"
    interrupted(monkeypatch, folder, updates=3)
    assert json.loads((folder / "groups" / "1" / "plan.json").read_text())[0] == 4
    with pytest.raises(UserError, match=r"--devices 3 cannot share evenly the 4 .* 1, 2, 4\."):
        sweeps.complete(load(folder), devices=3, console=Console(quiet=True))
    monkeypatch.setattr(memory, "free", lambda devices: 1)
    swept.run(folder)
    assert (folder / "table.csv").read_bytes() == (whole.folder / "table.csv").read_bytes()


def test_all_groups_must_fit_before_one_is_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "needed", lambda env, config: (10**15, config.steps_per_query))
    with pytest.raises(UserError, match="Memory does not suffice for 4 members"):
        swept.run(tmp_path / "sweep")
    assert not list(tmp_path.glob("sweep/members/*/*.csv"))


def test_more_members_than_files_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sweeps.resource, "getrlimit", lambda which: (100, 200))
    with pytest.raises(UserError, match=r"4 members need 260 open files and the system allows 200"):
        swept.run(tmp_path / "sweep")


def test_long_names_are_cut(tmp_path):
    names = ("learning_rate", "clip", "gamma", "gae_lambda", "entropy_coefficient", "max_kl")
    names += ("value_coefficient", "max_grad_norm", "initial_log_std", "num_envs", "reward_delay")
    every = settings(swept.BASE)
    axes = {name: (every[name],) for name in names}
    grid = lay_out([swept.BASE], axes, seeds=2, samples=None)
    made = fresh(grid, tmp_path / "sweep", halving=False, versions={})
    assert [member.config for member in made.runs] == [member.config for member in grid.members]
    assert all(len(member.folder.name) < 200 for member in made.runs)
    assert made.runs[1].folder.name.endswith("-seed1")


def test_a_setting_is_best_by_its_own_length(whole):
    """Whoever finished is compared by success, however many steps that were."""
    rows = table.read(whole)["members"]
    shorter = [
        member._replace(config=replaced(member.config, {"steps": 200}))
        if member.setting == 2
        else member
        for member in whole.runs
    ]
    changed = [
        row | ({"steps": 200, "success": 0.9} if row["setting"] == 2 else {"success": 0.1})
        for row in rows
    ]
    found = table.setting_rows(whole._replace(runs=tuple(shorter)), changed)
    assert found[0]["setting"] == 2


def test_changed_members_are_not_continued(monkeypatch, tmp_path):
    interrupted(monkeypatch, tmp_path / "sweep", updates=3)
    found = load(tmp_path / "sweep")
    member = found.groups[1][0]
    path = member.folder / "config.json"
    other = dataclasses.asdict(replaced(member.config, {"clip": 0.3}))
    path.write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"was made with( --clip|; put its)"):
        swept.run(tmp_path / "sweep")


def test_losers_stop_early(tmp_path):
    """Four settings of two seeds, a block each: all for 2 updates, two for 4, one for 8."""
    axes = {"learning_rate": (1e-6, 1e-3, 3e-2, 1e-2)}
    done = swept.run(tmp_path / "sweep", halving=True, axes=axes)
    found = rows(done.folder / "table.csv")
    assert sorted(int(row["steps"]) for row in found) == [80] * 4 + [160] * 2 + [320] * 2
    by_setting = {row["setting"]: row for row in found}
    assert [by_setting[str(setting)]["area"] == "" for setting in range(4)].count(True) == 3
    for rung, survivors in ((80, 2), (160, 1)):
        scores = {}
        for member in done.runs:
            columns = metrics.read(member.folder, "evaluations.csv")
            if rung in columns["steps"]:
                place = columns["steps"].index(rung)
                score = columns["success"][place], columns["returns"][place]
                scores.setdefault(member.setting, []).append(score)
        means = {setting: tuple(np.mean(each, axis=0)) for setting, each in scores.items()}
        best = sorted(means, key=lambda setting: means[setting], reverse=True)[:survivors]
        went_on = {int(row["setting"]) for row in found if int(row["steps"]) > rung}
        assert went_on == set(best)
    assert rows(done.folder / "settings.csv")[0]["steps"] == "320"
    for member, row in zip(done.runs, found, strict=True):
        assert metrics.read(member.folder)["steps"][-1] == int(row["steps"])
        assert state_of(member)[0] == int(row["steps"])


def test_the_ranking_is_by_mean_success_then_return():
    config = swept.BASE
    group = [Run(Path(), number // 2, config) for number in range(6)]

    population = Population(
        states=None, member=jax.numpy.arange(8).reshape(4, 2), active=jax.numpy.asarray(4)
    )

    def score(success, returns):
        return {"success": success, "returns": returns}

    evaluations = {
        0: score(0.0, 9.0), 1: score(0.6, 9.0),
        2: score(0.5, 1.0), 3: score(0.5, 1.0),
        4: score(0.5, 2.0), 5: score(0.5, 2.0),
    }  # fmt: skip
    order = sweeps.ranking(group, population, evaluations)
    assert list(order) == [4, 5, 2, 3, 0, 1, 6, 7]
    del evaluations[4], evaluations[5]
    assert list(sweeps.ranking(group, population, evaluations)) == [2, 3, 0, 1, 4, 5, 6, 7]


def plan(monkeypatch, members, *, free=10**9, seeds=1, halving=False, devices=1, state=10, work=30):
    monkeypatch.setattr(memory, "needed", lambda env, config: (state, work))
    monkeypatch.setattr(memory, "free", lambda devices: free)
    grid = lay_out([swept.BASE], {"clip": tuple(np.linspace(0.1, 0.3, members // seeds).tolist())},
                   seeds=seeds, samples=None)  # fmt: skip
    group = [Run(Path(), *member) for member in grid.members]
    return sweeps.make_plan(group, probes.RewardFromBoth(), halving=halving, devices=devices)


def test_what_fits_is_trained_at_once(monkeypatch):
    assert plan(monkeypatch, 12).slots == 12
    # 12 states of 10 bytes stay; of the other 80 each member at once takes 30.
    assert plan(monkeypatch, 12, free=250).slots == 2
    assert plan(monkeypatch, 12, devices=4).slots == 12
    assert plan(monkeypatch, 10, devices=4).slots == 12
    assert "12 members, 2 at once, about" in plan(monkeypatch, 12, free=250).sentence


def test_what_does_not_fit_is_refused(monkeypatch):
    with pytest.raises(UserError, match="Memory does not suffice for 12 members .* lower --num-e"):
        plan(monkeypatch, 12, free=150)


def test_halving_keeps_the_seeds_of_a_setting_together(monkeypatch):
    assert plan(monkeypatch, 32, seeds=2, halving=True)[:2] == (4, (1, 2, 4))
    assert plan(monkeypatch, 6, seeds=3, halving=True)[:2] == (3, (4,))
    assert plan(monkeypatch, 8, halving=True, devices=2)[:2] == (2, (2, 4))


def kill_and_resume(folder: Path, kills: int) -> None:
    """Kills a sweep at `kills` random moments."""
    moments = random.Random(1)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, swept.__file__, str(folder)])
        while not list(folder.glob("groups/*/checkpoints/*")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 12))
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL), "a resume failed"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 12])
def test_killed_at_random_moments_the_tables_are_the_same(whole, tmp_path, kills):
    kill_and_resume(tmp_path / "whole", kills)
    swept.run(tmp_path / "whole")
    for name in TABLES[:3]:
        assert (tmp_path / "whole" / name).read_bytes() == (whole.folder / name).read_bytes()
