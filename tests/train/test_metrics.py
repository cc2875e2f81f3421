from train import metrics


def test_rows_come_back_and_a_reopened_log_continues(tmp_path):
    for steps in (10, 20):
        with metrics.open_log(tmp_path) as write:
            write(steps=steps, seconds=steps / 3, metrics={"success": 0.1, "returns": -3.5e-9})
    assert metrics.read(tmp_path) == {
        "steps": [10, 20],
        "success": [0.1, 0.1],
        "returns": [-3.5e-9, -3.5e-9],
    }
    assert metrics.read(tmp_path, file="timing.csv") == {
        "steps": [10, 20],
        "seconds": [3.333, 6.667],
    }
    assert list(tmp_path.glob("events.out.tfevents.*"))
