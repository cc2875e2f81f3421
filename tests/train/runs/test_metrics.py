import math
import sys
import time
from types import SimpleNamespace

import pytest
from probes import CONFIG
from tensorboardX.proto.event_pb2 import Event

from train.runs import metrics
from train.runs.metrics import EVALUATIONS, METRICS, TIMING
from train.system.errors import UserError

ROW = {"success": 0.1, "returns": -3.5e-9}


def test_rows_come_back_and_a_reopened_log_continues(tmp_path):
    for steps in (10, 20):
        with metrics.open_log(tmp_path) as write:
            write(METRICS, steps, ROW)
            write(TIMING, steps, {"seconds": steps / 4})
    assert metrics.read(tmp_path) == {
        "steps": [10, 20],
        "success": [0.1, 0.1],
        "returns": [-3.5e-9, -3.5e-9],
    }
    assert metrics.read(tmp_path, TIMING) == {"steps": [10, 20], "seconds": [2.5, 5.0]}
    assert metrics.last_row(tmp_path, TIMING) == {"steps": 20, "seconds": 5.0}
    assert metrics.read(tmp_path, EVALUATIONS) == {}


def test_tensorboard_is_told_every_row_but_its_time(tmp_path):
    with metrics.open_log(tmp_path) as write:
        write(METRICS, 10, ROW)
        write(TIMING, 10, {"seconds": 1.0})
        write(EVALUATIONS, 10, {"success": 0.5})
        write(METRICS, 20, ROW)
    told = [
        (event.step, {value.tag: value.simple_value for value in event.summary.value})
        for event in events(tmp_path)
        if event.HasField("summary")
    ]
    row = pytest.approx(ROW, rel=1e-6)
    assert told == [(10, row), (10, {"evaluation/success": 0.5}), (20, row)]


def test_tensorboard_hides_what_is_made_again(tmp_path):
    """What came after the row that a log is opened at; the wall time of events is now."""
    began = time.time()
    for _ in range(2):
        with metrics.open_log(tmp_path) as write:
            write(METRICS, 10, ROW)
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert starts == [0, 11]
    assert all(began <= event.wall_time <= time.time() for event in events(tmp_path))


def events(folder):
    """What a run's files of events hold, in the order of their names: framed by 12 and 4 bytes."""
    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            found.append(Event.FromString(content[12 : 12 + size]))
            content = content[16 + size :]
    return found


def test_what_is_published_is_named_after_its_file(tmp_path):
    published = []

    def publish(numbers, *, steps):
        published.append((steps, numbers))

    with metrics.open_log(tmp_path, publish=publish) as write:
        write(METRICS, 10, ROW)
        write(TIMING, 10, {"seconds": 1.0})
        write(EVALUATIONS, 10, {"success": 0.5})
    assert published == [(10, ROW), (10, {"evaluation/success": 0.5})]


def test_the_best_evaluation_of_an_imitation_has_the_lowest_error(tmp_path):
    for steps, error in ((0, math.nan), (10, 3.0), (20, 1.0), (30, 1.0), (40, math.inf)):
        metrics.append(tmp_path / metrics.EVALUATIONS, {"steps": steps, "error": error})
    assert metrics.best_evaluation(tmp_path) == 20


def test_the_best_evaluation_is_the_first_of_equals(tmp_path):
    assert metrics.best_evaluation(tmp_path) is None
    with metrics.open_log(tmp_path) as write:
        for steps, success, returns in ((10, 0.5, 3.0), (20, 0.75, 1.0), (30, 0.75, 2.0)):
            write(EVALUATIONS, steps, {"success": success, "returns": returns})
        assert metrics.best_evaluation(tmp_path) == 30
        write(EVALUATIONS, 40, {"success": 0.75, "returns": 2.0})
    assert metrics.best_evaluation(tmp_path) == 30


def test_rewinding_drops_later_and_torn_rows(tmp_path):
    with metrics.open_log(tmp_path) as write:
        for steps in (10, 20, 30):
            write(METRICS, steps, ROW)
            write(TIMING, steps, {"seconds": steps / 4})
        write(EVALUATIONS, 30, {"success": 0.5})
    with (tmp_path / METRICS).open("a") as file:
        file.write("40,0.")
    metrics.rewind(tmp_path, steps=20)
    assert metrics.read(tmp_path)["steps"] == [10, 20]
    assert metrics.read(tmp_path, TIMING)["steps"] == [10, 20]
    assert metrics.read(tmp_path, EVALUATIONS) == {}
    metrics.rewind(tmp_path, steps=0)
    assert metrics.read(tmp_path) == {}


@pytest.mark.parametrize("content", ["steps,success\n1,a\n", "steps,success\n1\n"])
def test_what_is_no_table_of_numbers_is_refused(tmp_path, content):
    (tmp_path / METRICS).write_text(content)
    with pytest.raises(UserError, match="cannot be read as a table of numbers"):
        metrics.read(tmp_path)


def test_rewinding_what_is_no_table_is_refused(tmp_path):
    (tmp_path / METRICS).write_text("steps,success\none,2\n")
    with pytest.raises(UserError, match=r"metrics.csv cannot be read as a table of numbers"):
        metrics.rewind(tmp_path, steps=10)


def test_weights_and_biases_is_told_everything(tmp_path, monkeypatch):
    calls = []
    run = SimpleNamespace(
        log=lambda numbers, step: calls.append((numbers, step)),
        finish=lambda: calls.append("finished"),
    )

    def init(**options):
        calls.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    for _ in range(2):
        with (
            metrics.weights_and_biases(tmp_path, CONFIG) as publish,
            metrics.open_log(tmp_path, publish=publish) as write,
        ):
            write(METRICS, 10, ROW)
    options, *told = calls[:3]
    assert options["config"]["task"] == "probe" and options["name"] == tmp_path.name
    assert told == [(ROW, 10), "finished"]
    assert calls[3] == options, "a resumed run goes on in the same place"
