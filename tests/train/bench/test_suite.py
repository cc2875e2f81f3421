"""What suites have in common, on calls that do nothing."""

import json

import pytest
from rich.console import Console

from train.bench import suite
from train.bench.report import duration, figures, report
from train.bench.suite import Row, Suite, attempt, seconds
from train.system.errors import UserError

SUITE = Suite("Sums", "sums/s", ("ours", "old"), lambda _: iter(()), {"memory": "{:.1f} GB"})


class Clock:
    """Goes on by a second whenever somebody looks at it."""

    now = 0.0

    def perf_counter(self):
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(suite, "time", clock)
    return clock


def test_calls_are_timed_after_the_first(clock):
    spent = iter((50, 9, 3, 4))

    def run():
        clock.now += next(spent)

    assert seconds(run) == (10, 4, 5)


def test_short_calls_are_timed_until_patience_ends(clock, monkeypatch):
    monkeypatch.setattr(suite, "PATIENCE", 10.0)
    assert seconds(lambda: None) == 10 * (1,)
    monkeypatch.setattr(suite, "MOST", 6)
    assert seconds(lambda: None) == 6 * (1,)


def test_a_row_knows_its_median_and_quartiles():
    row = Row({}, "ours", (1.0, 2.0, 3.0, 4.0, 10.0), 30)
    assert row.quartiles.tolist() == [2, 3, 4]
    assert row.speed == 10


def test_what_is_missing_is_named():
    row = attempt({}, "peer", lambda: pytest.fail("it is not there"), package="no-such-thing")
    assert (row.seconds, row.note) == ((), "not installed: pip install no-such-thing")


@pytest.mark.parametrize("problem", [UserError, ImportError, MemoryError, RuntimeError])
def test_what_goes_wrong_is_told_in_the_row(problem):
    def fail():
        raise problem("Too large.\nReally.")

    assert attempt({}, "ours", fail).note == "Too large."


def test_other_errors_are_not_hidden():
    with pytest.raises(TypeError):
        attempt({}, "ours", lambda: len(3))


def rows():
    for size in (2, 1024):
        case = {"": "all", "D": 3, "batch": size}
        yield Row(case, "ours", (1.0, 2.0, 3.0), 10, {"memory": 2.0})
        yield Row(case, "old", (4.0, 4.0, 4.0), 10)
        yield Row(case, "peer", (8.0,), 10)
        yield Row(case, "missing", note="not installed: pip install missing")


def test_the_table_the_file_and_the_figure(tmp_path, capsys):
    report("sums", SUITE, rows(), tmp_path, Console(highlight=False, markup=False))
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "old is" in line)
    assert head.split() == ["time", "±", "sums/s", "ours", "is", "old", "is", "memory"]
    first = lines[lines.index("all, D 3, batch 1,024") + 1 :]
    assert first[0].split() == [
        "ours",
        "2.00",
        "s",
        "25%",
        "5.00",
        "1.00",
        "x",
        "0.500",
        "x",
        "2.0",
        "GB",
    ]
    assert first[2].split() == ["peer", "8.00", "s", "0%", "1.25", "4.00", "x", "2.00", "x"]
    assert first[3].split() == ["missing", "not", "installed:", "pip", "install", "missing"]
    assert max(map(len, lines[3:11])) == len(head)
    content = json.loads((tmp_path / "sums.json").read_text())
    assert content["unit"] == "sums/s" and "jax" in content["versions"]
    assert content["rows"][0] == {
        **{"case": {"": "all", "D": 3, "batch": 2}, "way": "ours", "units": 10, "speed": 5.0},
        **{"quartiles": [1.5, 2.0, 2.5], "seconds": [1.0, 2.0, 3.0], "memory": 2.0},
    }
    assert content["rows"][3]["note"].endswith("pip install missing")
    assert (tmp_path / "sums.png").stat().st_size > 1000
    assert f"Wrote  {tmp_path / 'sums.png'}" in lines


def test_one_size_is_drawn_and_nothing_is_not(tmp_path):
    console = Console(quiet=True)
    one = [row for row in rows() if row.case["batch"] == 2]
    report("one", SUITE, one, tmp_path, console)
    report("none", SUITE, [row for row in one if row.note], tmp_path, console)
    assert (tmp_path / "one.png").exists() and not (tmp_path / "none.png").exists()


def test_numbers_have_three_figures():
    assert [figures(x) for x in (12345.6, 99.94, 1.0, 0.01234)] == [
        *("12,346", "99.9", "1.00", "0.0123")
    ]
    assert [duration(x) for x in (123.4, 0.5, 12e-6)] == ["123 s", "500 ms", "12.0 us"]
