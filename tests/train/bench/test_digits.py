import dataclasses
import re

import jax
import numpy as np
import pytest
from rich.console import Console

from configs import Descent, DigitsConfig, Pen
from ndp_jax.dmp import FORCINGS, METHODS
from train.bench import digits
from train.imitation import digit_writing
from train.imitation.digit_writing import make_dmp, make_writer

CONFIG = DigitsConfig(hidden=(20, 10), descent=Descent(batch=4))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Strokes of few samples, which compile soon."""
    monkeypatch.setattr(digit_writing, "STEPS", 60)


@pytest.fixture
def torch_writer():
    torch = pytest.importorskip("torch")
    from train.bench import torch_writer

    threads = torch.get_num_threads()
    yield torch_writer
    torch.set_num_threads(threads)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forcing", FORCINGS)
def test_pytorch_computes_the_same(torch_writer, forcing, method):
    """Trajectories, and the losses of three steps, which tell of the gradients, too."""
    config = dataclasses.replace(CONFIG, pen=Pen(forcing=forcing, method=method))
    dmp = make_dmp(config)
    images, strokes, movements = digits.examples(dmp, CONFIG.descent.batch)
    model = make_writer(config)
    variables = model.init(jax.random.key(1), images)
    device = torch_writer.device()
    writer = torch_writer.Writer(dmp, variables, device=device)

    expected = np.asarray(model.apply(variables, images).path)
    pictures = torch_writer.to_tensor(images, device)
    actual = writer(pictures).detach().cpu().numpy()
    assert actual.shape == expected.shape == (CONFIG.descent.batch, dmp.n_steps + 1, 2)
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()

    gradient = np.asarray(digits.make_gradient(dmp, method)(movements, strokes))
    peer = torch_writer.make_gradient(dmp, movements, strokes, device=device)()
    assert np.abs(peer - gradient).max() < 1e-4 * np.abs(gradient).max()

    ours, _ = digits.make_step(model, CONFIG, variables, images, strokes)
    rate = CONFIG.descent.learning_rate
    theirs = torch_writer.make_step(writer, images, strokes, learning_rate=rate)
    losses = np.array([(float(ours()), theirs()) for _ in range(3)])
    np.testing.assert_allclose(*losses.T, rtol=1e-4)
    assert losses[2, 0] < losses[0, 0]


def test_the_table_states_times_and_that_all_compute_the_same(torch_writer, capsys, monkeypatch):
    monkeypatch.setattr(digits, "REPEATS", 2)
    digits.bench_digits(CONFIG, console=Console(width=100, force_terminal=False))
    shown = capsys.readouterr().out
    rows = re.findall(r"│ (PyTorch|JAX).*?([\d.]+) ms .*?([\d.]+) ms .* ([\d.]+) +│", shown)
    assert [row[0] for row in rows][-3:] == ["PyTorch", "JAX", "JAX"]
    losses = [float(row[3]) for row in rows]
    assert losses == pytest.approx(len(rows) * losses[:1], rel=1e-4)
    assert "threads" in shown


@pytest.mark.slow
def test_steps_need_no_pytorch():
    """Both methods learn the same."""
    images, strokes, _ = digits.examples(make_dmp(CONFIG), 4)
    variables = make_writer(CONFIG).init(jax.random.key(0), images)
    losses = []
    for method in METHODS:
        model = make_writer(CONFIG).clone(method=method)
        step, _ = digits.make_step(model, CONFIG, variables, images, strokes)
        losses.append([float(step()) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][2] < losses[0][0]
