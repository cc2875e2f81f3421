"""Digits: moved pictures, fitted parameters, baselines, judgement, and models that learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from rich.console import Console

from configs import Descent, DigitsConfig
from configs.imitation import Pen
from ndp_jax import load_writer
from train.imitation import digit_writing, digits
from train.imitation.digit_writing import Examples, baselines, judge_paths, make_write, shifted
from train.imitation.digits import Digits
from train.imitation.learner import make_learner
from train.runs import run
from train.system.errors import UserError

CONFIG = DigitsConfig(samples=64, held_out=16, hidden=(32,), pen=Pen(n_basis=8), data="")
MODELS = ("cnn-ndp", "mlp-ndp", "cnn-dmp", "cnn")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def loaded(cache):
    """Digits to learn from and held-out ones."""
    return digit_writing.load(CONFIG)


@pytest.fixture(scope="module")
def drawn(loaded):
    """Digits that lie so far inside that a shift cuts nothing off, and their fine strokes."""
    paths = loaded[0].paths
    inside = (paths.min(axis=(1, 2)) > 5) & (paths.max(axis=(1, 2)) < 34)
    paths = jnp.asarray(paths[inside])
    assert len(paths) > 10
    between = (paths[:, :-1] + paths[:, 1:]) / 2
    fine = jnp.concatenate([paths, between], axis=1)
    image = jnp.round(255 * jax.vmap(digits.draw)(fine)).astype(jnp.uint8)
    return Examples(image=image, path=paths, target=None), fine


def moves(before, after):
    shift = after.path[:, 0] - before.path[:, 0]
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-4)
    return np.round(shift)


def test_picture_and_stroke_move_alike(drawn):
    before, fine = drawn
    after = shifted(CONFIG, before, jax.random.key(0))
    shift = moves(before, after)
    assert len(np.unique(shift, axis=0)) > 5
    np.testing.assert_allclose(after.path, before.path + shift[:, None], atol=1e-4)
    again = np.round(255 * jax.vmap(digits.draw)(fine + shift[:, None]))
    np.testing.assert_allclose(np.asarray(after.image, int), again, atol=1)
    assert after.image.dtype == jnp.uint8


def test_shifts_reach_as_far_as_told_and_no_further(drawn):
    before, _ = drawn
    for most in (0, 1, 3):
        config = dataclasses.replace(CONFIG, shift=most)
        keys = jax.random.split(jax.random.key(1), 10)
        seen = np.concatenate([moves(before, shifted(config, before, key)) for key in keys])
        assert {*seen[:, 0]} == {*seen[:, 1]} == {*range(-most, most + 1)}
    still = shifted(dataclasses.replace(CONFIG, shift=0), before, jax.random.key(1))
    np.testing.assert_array_equal(still.image, before.image)


def test_what_leaves_the_picture_is_cut_off():
    corner = jnp.zeros((60, 40, 40), jnp.uint8).at[:, 0, 39].set(255)
    path = jnp.broadcast_to(jnp.array([39.0, 0.0]), (60, 301, 2))
    before = Examples(image=corner, path=path, target=None)
    after = shifted(CONFIG, before, jax.random.key(0))
    shifts = moves(before, after).astype(int)
    for (right, down), image in zip(shifts, np.asarray(after.image), strict=True):
        expected = np.zeros((40, 40), np.uint8)
        if right <= 0 <= down:
            expected[down, 39 + right] = 255
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("start", ["predicted", "given"])
def test_fitted_parameters_move_with_the_digit(loaded, start):
    config = dataclasses.replace(CONFIG, model="cnn-dmp", start=start)
    before = digit_writing.examples(config, loaded[0])
    assert before.target.shape == (64, 2, 8 + 1 + (start == "predicted"))
    after = shifted(config, before, jax.random.key(0))
    again = digit_writing.fitted(config, np.asarray(after.path))
    scale = np.std(before.target, axis=0)
    np.testing.assert_allclose(after.target / scale, again / scale, atol=0.01)
    first = np.asarray(after.target - before.target)[..., 0]
    shift = moves(before, after) * (start == "predicted")
    np.testing.assert_allclose(first, shift, atol=1e-4)


@pytest.mark.parametrize("start", ["predicted", "given"])
def test_fitted_parameters_draw_the_stroke(loaded, start):
    config = dataclasses.replace(CONFIG, start=start, pen=Pen(n_basis=30))
    paths = loaded[0].paths
    parameters = digit_writing.fitted(config, paths)
    begin = jnp.asarray(paths[:, 0]) if start == "given" else None
    again = digit_writing.integrate(
        digit_writing.make_dmp(config), parameters, begin, middle=digit_writing.MIDDLE
    )
    assert digit_writing.errors(np.asarray(again), paths).max() < 0.1


def test_baselines(loaded):
    learned, held_out = loaded
    found = baselines(CONFIG, learned, held_out)
    assert list(found) == ["global_mean", "class_mean", "floor"]
    mean = learned.paths.mean(axis=0)
    np.testing.assert_allclose(
        found["global_mean"], np.mean((held_out.paths - mean) ** 2), rtol=1e-5
    )
    own = [learned.paths[learned.labels == n].mean(axis=0) for n in held_out.labels]
    expected = np.mean((held_out.paths - np.stack(own)) ** 2)
    np.testing.assert_allclose(found["class_mean"], expected, rtol=1e-5)
    assert found["floor"] < found["class_mean"] < found["global_mean"]
    finer = dataclasses.replace(CONFIG, pen=Pen(n_basis=30))
    assert baselines(finer, learned, held_out)["floor"] < found["floor"] / 10


def test_without_labels_or_a_digit_nobody_is_told_the_class(loaded):
    learned, held_out = loaded
    unlabelled = held_out._replace(labels=np.full(16, -1, np.int32))
    assert list(baselines(CONFIG, learned, unlabelled)) == ["global_mean", "floor"]
    missing = Digits(*(array[learned.labels != held_out.labels[0]] for array in learned))
    assert list(baselines(CONFIG, missing, held_out)) == ["global_mean", "floor"]


def test_judgement(loaded):
    held_out = loaded[1]
    written = held_out.paths.copy()
    assert judge_paths(written, held_out) == {"samples": 16, "error": 0.0, "worst": 0.0}
    written[3, :, 0] += 2
    written[5] += 1
    found = judge_paths(written, held_out)
    np.testing.assert_allclose([found["error"], found["worst"]], [3 / 16, 2.0], rtol=1e-5)


def test_the_sentence_tells_three_digits():
    said = digit_writing.sentence({"samples": 16, "error": 0.18765, "worst": 2.0})
    assert said == "Error 0.188 px^2 per coordinate, at worst 2, 16 held-out digits"


@pytest.mark.parametrize(
    ("model", "start"),
    [
        ("mlp-ndp", "predicted"),
        ("cnn-ndp", "given"),
        *(pytest.param(m, "predicted", marks=pytest.mark.slow) for m in MODELS if m != "mlp-ndp"),
    ],
)
def test_a_model_learns_and_is_exported(loaded, tmp_path, monkeypatch, model, start):
    descent = Descent(steps=40, batch=32, learning_rate=3e-3)
    config = dataclasses.replace(CONFIG, model=model, start=start, descent=descent)
    problem = digit_writing.problem(config)
    material = problem.load()
    learner = make_learner(problem.loss, descent, examples=problem.size)
    begin = jax.jit(problem.init)(jax.random.key(0), material.examples)
    blank = jax.eval_shape(problem.init, jax.random.key(0), problem.blank)
    assert jax.tree.map(jnp.shape, begin) == jax.tree.map(jnp.shape, blank)
    state, losses = learner.init(begin, jax.random.key(1)), []
    update = jax.jit(learner.update)
    for _ in range(descent.steps):
        state, row = update(state, material.examples)
        losses.append(float(row["loss"]))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:2])
    assert state.skipped_minibatches == 0
    error = material.error(state.variables)
    assert error < 0.85 * material.error(begin)

    held_out = loaded[1]
    summary, sentence = material.finish(state.variables, tmp_path, Console(quiet=True), 0)
    assert summary == digit_writing.judge(config, state.variables)
    assert summary["error"] == error and sentence == digit_writing.sentence(summary)
    assert (tmp_path / "digits.png").stat().st_size > 1000

    monkeypatch.setattr(digit_writing, "JUDGED_AT_ONCE", 6)
    written = make_write(config)(state.variables, held_out)
    np.testing.assert_allclose(judge_paths(written, held_out)["error"], error, rtol=1e-5)

    run.save_config(tmp_path, config, {"jax": "0.12"})
    path = digit_writing.export(config, state.variables, tmp_path, tmp_path / "policy.msgpack")
    begin = [held_out.paths[:, 0]] if start == "given" else []
    np.testing.assert_allclose(load_writer(path)(held_out.images, *begin), written, atol=1e-3)
    with pytest.raises(UserError, match="Cannot write the model to .*; choose another --out."):
        digit_writing.export(config, state.variables, tmp_path, tmp_path / "missing" / "file")


def test_digits_of_a_file_are_learned_from_but_for_the_last(loaded, tmp_path):
    source = loaded[0]
    cells = np.empty((2, 10), object)
    for number in range(10):
        cells[:, number] = source.images[number], source.paths[number]
    file = tmp_path / "40x40-smnist.mat"
    scipy.io.savemat(file, {"imageArray": cells[:1], "trajArray": cells[1:]})
    config = dataclasses.replace(CONFIG, data=str(file), samples=6, held_out=3)
    learned, held_out = digit_writing.load(config)
    np.testing.assert_allclose(learned.paths, source.paths[:6], atol=1e-5)
    np.testing.assert_allclose(held_out.images, source.images[7:10], atol=1e-6)
    assert "class_mean" not in baselines(config, learned, held_out)
    with pytest.raises(UserError, match="holds 10 digits, but --samples 6 and --held-out 5 need 1"):
        digit_writing.load(dataclasses.replace(config, held_out=5))
