import dataclasses
import signal

import pytest
import trained
from probes import CONFIG

from train.runs import checkpoint, metrics


def learn(folder, *, publish=None, **changes):
    return trained.learn(folder, dataclasses.replace(CONFIG, **changes), publish=publish)


def test_same_seed_same_file_and_another_seed_another(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        learn(tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "metrics.csv").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert metrics.read(tmp_path / "a")["steps"] == list(range(40, 401, 40))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_the_run(tmp_path, number):
    def publish(numbers, *, steps):
        if steps == 120:
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    _, signals = learn(tmp_path / "run", publish=publish)
    assert signals == [number]
    assert signal.getsignal(number) is handler
    assert metrics.read(tmp_path / "run")["steps"] == [40, 80, 120]
    with checkpoint.open_manager(tmp_path / "run", read_only=True) as manager:
        assert manager.latest_step() == 120
