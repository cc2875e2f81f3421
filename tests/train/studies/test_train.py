"""A study through the command: what it leaves, also if it was interrupted."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import imageio
import numpy as np
import pytest
import studied

from train.cli import main
from train.rl.train import evaluation_due
from train.runs import metrics
from train.studies import folder as studies
from train.studies import record
from train.studies.record import tasks_of, variants_of
from train.sweeps import train as sweeps

ARGUMENTS = ("study", "--tasks", "push", "throw", *studied.SMALL)
BOTH, OURS = ("--policies", "ndp", "ppo"), ("--policies", "ndp")
LEFT = {"study.json", "cells", "evaluations.csv", "table.md"}
LEFT |= {"curves.png", "minutes.png", "comparison.png"}


@pytest.fixture(scope="module", autouse=True)
def probes_for_tasks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "make_env", lambda config: studied.Succeeds())
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "whole"
    assert main([*ARGUMENTS, *BOTH, "--out", str(folder)]) == 0
    return folder


def rows(folder):
    """But for what the clock says."""
    with (folder / "evaluations.csv").open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name not in ("minutes", "hours")}
            for row in csv.DictReader(file)
        ]


def test_a_study_leaves_what_it_promises(whole):
    assert {path.name for path in whole.iterdir()} == LEFT
    for image in whole.glob("*.png"):
        assert imageio.v3.imread(image).std() > 5
    names = [cell.folder.name for cell in studies.load(whole).cells]
    assert [name[:7] for name in names] == ["0-push-", "1-throw", "2-push-", "3-throw"]


def test_every_evaluation_of_every_seed_is_a_row(whole):
    found = rows(whole)
    assert len(found) == 4 * 2 * (9 + 1)
    for cell in studies.load(whole).cells:
        for member in cell.runs:
            config = member.config
            which = (config.task, config.policy, str(config.seed))
            mine = [row for row in found if (row["task"], row["policy"], row["seed"]) == which]
            evaluations = metrics.read(member.folder, "evaluations.csv")
            curve = [row for row in mine if row["final"] == "0"]
            assert [float(row["steps"]) for row in curve] == evaluations["steps"]
            success = [float(row["success"]) for row in curve]
            assert success == pytest.approx(evaluations["success"], rel=1e-5)
            (end,) = (row for row in mine if row["final"] == "1")
            assert (end["steps"], end["episodes"]) == ("320", "256")
            expected = pytest.approx(member.evaluation["success"], rel=1e-5)
            assert float(end["success"]) == expected


def test_the_clock_is_of_a_seed_and_of_the_cell(whole):
    found = record.results(record.read([whole / "evaluations.csv"]))
    assert tasks_of(found) == ["push", "throw"]
    assert [variant.policy for variant in variants_of(found)] == ["ndp", "ppo"]
    for cell in found.values():
        assert cell.minutes[0] == 0 and (np.diff(cell.minutes) > 0).all()
        assert cell.hours * 60 > 2 * cell.minutes[-1]


def test_the_first_update_is_taken_to_be_like_the_others():
    timing = {"steps": [1.0, 2.0, 3.0], "seconds": [100.0, 104.0, 106.0]}
    timing |= {"evaluating": [10.0, 12.0, 12.0], "saving": [0.0, 0.0, 0.0]}
    clock = record.clock_of(timing, seeds=2)
    assert [minutes * 120 for minutes, _ in clock.values()] == pytest.approx([0, 2, 4, 6])
    assert clock[3.0][1] == pytest.approx(106 / 3600)


def test_the_table_names_every_cell_and_its_hours(whole):
    text = (whole / "table.md").read_text()
    for task in ("push", "throw"):
        for policy in ("ndp", "ppo"):
            assert text.count(f"| {task} | {policy} |") == 2
    assert "| policy | success | P, all tasks | P, push | P, throw |" in text
    assert f"Trained on {json.loads((whole / 'study.json').read_text())['machines'][0]}." in text


def test_it_is_drawn_anew_from_its_csv_alone(whole, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    shutil.copy(whole / "evaluations.csv", kept)
    assert main(["study", "--plot", str(kept)]) == 0
    assert {path.name for path in kept.iterdir()} == LEFT - {"cells", "study.json"}
    table = (whole / "table.md").read_text()
    assert table.startswith((kept / "table.md").read_text())
    shutil.copy(whole / "study.json", kept)
    assert main(["study", "--plot", str(kept)]) == 0
    assert (kept / "table.md").read_text() == table


def test_studies_are_drawn_together(whole, tmp_path):
    both = (whole / "evaluations.csv").read_text().splitlines(keepends=True)
    for policy in ("ndp", "ppo"):
        part = tmp_path / policy
        part.mkdir()
        mine = [both[0], *(line for line in both if f",{policy}," in line)]
        (part / "evaluations.csv").write_text("".join(mine))
    shutil.copy(whole / "study.json", tmp_path / "ppo")
    parts = [str(tmp_path / policy) for policy in ("ndp", "ppo")]
    assert main(["study", "--plot", *parts, "--out", str(tmp_path / "all")]) == 0
    assert (tmp_path / "all" / "table.md").read_text() == (whole / "table.md").read_text()
    assert record.read([tmp_path / "all" / "evaluations.csv"])
    twice = ["study", "--plot", parts[0], parts[0], "--out", str(tmp_path / "twice")]
    assert main(twice) == 2
    assert not (tmp_path / "twice").exists()


def test_an_interrupted_study_goes_on(whole, monkeypatch, tmp_path, capsys):
    """In its second cell; the first is in the table already and is left as it is."""
    folder, seen = tmp_path / "study", []

    def due(config, steps):
        seen.append(steps)
        if len(seen) == 8 + 3:
            signal.raise_signal(signal.SIGTERM)
        return evaluation_due(config, steps)

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "evaluation_due", due)
        assert main([*ARGUMENTS, *OURS, "--out", str(folder)]) == 143
    said = " ".join(capsys.readouterr().out.split())
    assert f"To continue: ndp study --resume {folder}" in said
    expected = [row for row in rows(whole) if row["policy"] == "ndp"]
    assert rows(folder) == expected[:20]
    first = studies.load(folder).cells[0].runs[0].folder / "evaluation.json"
    before = first.stat().st_mtime_ns
    assert main(["study", "--resume", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "Cell 1 of 2" not in said and "Continuing at 120 steps" in said
    assert first.stat().st_mtime_ns == before
    assert rows(folder) == expected
    assert main(["resume", str(folder)]) == 0
    assert "Cell " not in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_study_goes_on(whole, tmp_path):
    """In its second cell, after a checkpoint."""
    folder, start = tmp_path / "study", [sys.executable, studied.__file__]
    process = subprocess.Popen([*start, *ARGUMENTS, *OURS, "--out", str(folder)])
    while not list(folder.glob("cells/1-*/groups/*/checkpoints/*")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() in (0, -signal.SIGKILL)
    done = subprocess.run([*start, "study", "--resume", str(folder)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert rows(folder) == [row for row in rows(whole) if row["policy"] == "ndp"]


@pytest.mark.parametrize("content", ["", "steps,success\n1,2\n"])
def test_a_foreign_csv_is_one_sentence(tmp_path, capsys, content):
    (tmp_path / "evaluations.csv").write_text(content)
    assert main(["study", "--plot", str(tmp_path)]) == 2
    assert "is not the evaluations.csv of a study." in capsys.readouterr().err


def test_a_torn_csv_is_one_sentence(whole, tmp_path, capsys):
    text = (whole / "evaluations.csv").read_text()
    (tmp_path / "evaluations.csv").write_text(text[: len(text) * 2 // 3])
    assert main(["study", "--plot", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said and said.count("\n") == 1
