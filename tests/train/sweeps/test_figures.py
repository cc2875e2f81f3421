import numpy as np
import pytest

from configs import PRESETS
from train.runs import plots
from train.sweeps import figures
from train.sweeps.folder import Run, Sweep


def row(setting, success, *, area=0.5, **swept):
    measures = {}
    for name, value in (("success", success), ("area", area)):
        ends = (None, None) if value is None else (value - 0.1, value + 0.1)
        measures |= {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return {"setting": setting, "seeds": 3, **swept, **measures}


@pytest.fixture(autouse=True)
def close():
    yield
    plots.plt.close("all")


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_a_heat_map_has_every_cell_where_it_belongs():
    rows = [
        row(2 * i + j, 0.1 * (2 * i + j), alpha=alpha, learning_rate=rate)
        for i, alpha in enumerate((15.0, 5.0))
        for j, rate in enumerate((1e-3, 1e-4))
    ]
    figure = figures.heat_map(rows[::-1], ["learning_rate", "alpha"])
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.0001", "0.001"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["5", "15"]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.3, 0.2], [0.1, 0.0]])
    assert "0.30\n(0.20 to 0.40)" in texts(axis)
    assert axis.get_xlabel() == "learning rate"


def test_a_line_shows_means_and_intervals():
    rows = [row(0, 0.8, clip=0.3), row(1, 0.4, clip=0.1)]
    axis = figures.line(rows, ["clip"]).axes[0]
    (container,) = axis.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), [0.4, 0.8])
    segments = container.lines[2][0].get_segments()
    np.testing.assert_allclose(segments[0][:, 1], [0.3, 0.5])


def test_parallel_coordinates_have_a_line_for_every_setting():
    rows = [
        row(number, 1 - number / 10, area=None, clip=0.1 + number / 50, hidden=[8, 2**number])
        for number in range(6)
    ]
    axis = figures.parallel(rows, ["clip", "hidden"]).axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_zorder() >= 0]
    heights = [tuple(line.get_ydata()) for line in lines if line.get_color() != "black"]
    assert len(heights) == 6
    np.testing.assert_allclose(sorted(heights), [(x, x) for x in np.linspace(0, 1, 6)])
    assert "8x32" in texts(axis)


def test_draws_are_no_grid_even_if_there_are_as_many(tmp_path, monkeypatch):
    class Nothing:
        config, setting, folder = PRESETS["push"], -1, tmp_path

    sweep = Sweep(tmp_path, ("clip", "alpha"), False, (Nothing,))
    drawn = [(0.1, 5.0), (0.1, 5.0), (0.2, 5.0), (0.2, 15.0)]
    rows = [row(n, 0.5, clip=clip, alpha=alpha) for n, (clip, alpha) in enumerate(drawn)]
    monkeypatch.setattr(figures, "read", lambda sweep: {"settings": rows})
    figures.draw(sweep)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.png"]


def test_a_loser_that_never_ended_an_episode_has_no_curve(tmp_path):
    run = Run(tmp_path, 0, PRESETS["push"])
    for returns, ended in (("nan", False), ("0.0", True)):
        (tmp_path / "metrics.csv").write_text(f"steps,returns\n40,nan\n80,{returns}\n")
        assert figures.has_curve(run) == ended


def test_orders_of_magnitude_are_even_steps():
    places = figures.scale([1e-4, 1e-3, 1e-2, 2e-2, 3e-2, 1e-1])
    assert places[1e-3] == pytest.approx(1 / 3) and places[1e-2] == pytest.approx(2 / 3)
