"""Runs of `ndp imitate digits` from the command line: files, resuming, commands, refusals."""

import json
import shutil
import signal

import imageio
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.io

from ndp_jax import load_writer
from train.cli import main
from train.imitation import digit_writing, digits
from train.imitation import train as imitation
from train.runs import checkpoint, metrics

SMALL = ("--samples", "32", "--held-out", "8", "--batch", "16", "--hidden", "8")
SHORT = ("--model", "mlp-ndp", "--n-basis", "5", "--steps", "20", "--eval-every", "10")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Where digits are kept; rows of five steps."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(imitation, "ROW", 5)
        yield folder


def start(folder, *more):
    return main(["imitate", "digits", *SMALL, *SHORT, "--out", str(folder), *more])


def resume(folder, *more):
    return main(["imitate", "--resume", str(folder), *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert start(folder) == 0
    return folder


def variables(folder, which="latest"):
    return imitation.restored(folder, which)[1]


def rows(folder):
    """What the seed determines."""
    return [(folder / file).read_bytes() for file in ("metrics.csv", "evaluations.csv")]


def same(folder, other):
    jax.tree.map(np.testing.assert_array_equal, variables(folder), variables(other))
    assert rows(folder) == rows(other)
    evaluations = [json.loads((f / "evaluation.json").read_text()) for f in (folder, other)]
    assert evaluations[0] == evaluations[1]


def test_a_run_leaves_what_it_promises(whole):
    files = {path.name for path in whole.iterdir() if not path.name.startswith("events.")}
    assert files == {
        *("config.json", "metrics.csv", "timing.csv", "evaluations.csv", "evaluation.json"),
        *("checkpoints", "curve.png", "digits.png"),
    }
    assert list(whole.glob("events.*"))
    config = json.loads((whole / "config.json").read_text())
    assert (config["model"], config["samples"], config["descent"]["steps"]) == ("mlp-ndp", 32, 20)
    columns = metrics.read(whole)
    assert columns["steps"] == [5, 10, 15, 20]
    numbers = {"loss", "gradient_norm", "skipped_minibatches", "skipped_in_a_row"}
    assert set(columns) == {"steps"} | numbers
    assert columns["skipped_minibatches"] == [0] * 4
    evaluated = metrics.read(whole, "evaluations.csv")
    assert evaluated["steps"] == [10, 20]
    found = json.loads((whole / "evaluation.json").read_text())
    assert found["error"] == evaluated["error"][-1] and found["samples"] == 8
    assert {"global_mean", "floor"} <= set(found["baselines"])


def interrupt_at(monkeypatch, steps, action):
    """Acts while the row that ends at `steps` is made."""
    summary = imitation.summary_of

    def acting(made, state):
        if int(state.steps) == steps:
            action()
        return summary(made, state)

    monkeypatch.setattr(imitation, "summary_of", acting)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_the_whole_bit_for_bit(
    whole, tmp_path, monkeypatch, capsys, number
):
    folder = tmp_path / "half"
    with monkeypatch.context() as patch:
        interrupt_at(
            patch, 5 if number == signal.SIGINT else 10, lambda: signal.raise_signal(number)
        )
        assert start(folder) == 128 + number
    said = " ".join(capsys.readouterr().out.split())
    assert "checkpoint saved. To continue: ndp imitate --resume" in said
    assert not (folder / "evaluation.json").exists()
    assert resume(folder) == 0
    same(folder, whole)


def test_rows_after_the_last_checkpoint_are_made_again(whole, tmp_path, monkeypatch):
    """As after a kill: nothing is saved on the way out."""

    def die():
        raise KeyError("killed")

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20, die)
        with pytest.raises(KeyError):
            start(folder)
    with checkpoint.open_manager(folder, read_only=True) as manager:
        assert manager.latest_step() == 10, "of the best evaluation"
    assert metrics.read(folder)["steps"] == [5, 10, 15]
    assert resume(folder) == 0
    same(folder, whole)


def test_a_finished_run_is_left_as_it_is_and_can_go_further(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    assert start(folder) == 0
    before = rows(folder)
    assert resume(folder) == 0
    assert "Finished already, at 20 steps; to go further, raise --steps." in capsys.readouterr().out
    assert rows(folder) == before == rows(whole)
    assert resume(folder, "--steps", "30") == 0
    assert metrics.read(folder)["steps"] == [5, 10, 15, 20, 25, 30]
    assert rows(folder)[0].startswith(before[0])
    assert json.loads((folder / "config.json").read_text())["descent"]["steps"] == 30
    moved = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != b)), variables(folder), variables(whole)
    )
    assert any(jax.tree.leaves(moved)), "the learning rate is no longer zero"


def test_nothing_but_nan_stops_with_a_sentence(tmp_path, monkeypatch, capsys):
    def poison(variables, batch, key):
        return jnp.nan * optax.tree.norm(variables["params"])

    monkeypatch.setattr(digit_writing, "make_loss", lambda config: poison)
    folder = tmp_path / "wild"
    assert start(folder, "--max-skipped", "5") == 1
    assert metrics.read(folder)["skipped_in_a_row"] == [5]
    said = " ".join(capsys.readouterr().err.split())
    assert "minibatches were not finite" in said and "--learning-rate may help" in said
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(variables(folder)))


def test_it_can_be_evaluated_again(whole, capsys):
    before = (whole / "evaluation.json").read_bytes()
    assert main(["evaluate", str(whole)]) == 0
    assert (whole / "evaluation.json").read_bytes() == before
    found = json.loads(before)
    assert capsys.readouterr().out == (
        f"Error {found['error']:.3g} px^2 per coordinate, at worst {found['worst']:.3g}, "
        "8 held-out digits\n"
    )


def test_its_best_checkpoint_can_be_evaluated(whole, tmp_path):
    """Here the one after ten steps, as if the last error had been larger."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    first, last = metrics.read(folder, "evaluations.csv")["error"]
    evaluations = folder / "evaluations.csv"
    evaluations.write_text(evaluations.read_text().replace(repr(last), "99"))
    assert main(["evaluate", str(folder), "--checkpoint", "best"]) == 0
    found = json.loads((folder / "evaluation-best.json").read_text())
    assert found["error"] == first != last


def test_it_can_be_drawn(whole, tmp_path, capsys):
    path = tmp_path / "new" / "digits.png"
    assert main(["render", str(whole), "--out", str(path)]) == 0
    assert capsys.readouterr().out == f"Wrote {path}\n"
    written, again = (imageio.v3.imread(file) for file in (whole / "digits.png", path))
    np.testing.assert_array_equal(written, again)
    assert written.std() > 5
    assert main(["plot", str(whole), "--out", str(tmp_path / "curve.png")]) == 0
    assert imageio.v3.imread(tmp_path / "curve.png").std() > 5


def test_it_can_be_exported(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    assert main(["export", str(folder)]) == 0
    assert capsys.readouterr().out == f"Wrote {folder / 'policy.msgpack'}\n"
    writer = load_writer(folder / "policy.msgpack")
    held_out = digits.load(8, split="test")
    error = np.mean((np.asarray(writer(held_out.images)) - held_out.paths) ** 2)
    found = json.loads((whole / "evaluation.json").read_text())
    np.testing.assert_allclose(error, found["error"], rtol=1e-4)
    assert writer.about["model"] == "mlp-ndp" and "versions" in writer.about
    assert main(["export", str(folder), "--out", str(tmp_path / "new" / "mine")]) == 0
    assert (tmp_path / "new" / "mine").read_bytes() == (folder / "policy.msgpack").read_bytes()


def refused(capsys, *arguments):
    """Exit code 2 and one line."""
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.fixture
def damaged(whole, cache):
    """The cached digits to learn from, cut off, until the test is over."""
    (file,) = (cache / "ndp-jax" / "digits").glob("*-train-32.npz")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    yield file
    file.write_bytes(content)


def test_a_damaged_cache_is_refused(whole, damaged, tmp_path, capsys):
    folder = tmp_path / "run"
    said = refused(capsys, "imitate", "digits", *SMALL, *SHORT, "--out", str(folder))
    assert f"The cached digits in {damaged} are damaged" in said and "delete it." in said
    assert not folder.exists()
    assert "damaged" in refused(capsys, "imitate", "--resume", str(whole))
    assert "damaged" in refused(capsys, "evaluate", str(whole))


def test_an_unfinished_cache_file_is_not_taken_for_one(whole, damaged, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "ndp-jax" / "digits"
    folder.mkdir(parents=True)
    (folder / f"{damaged.stem}.123.partial").write_bytes(damaged.read_bytes())
    assert main(["evaluate", str(whole)]) == 0


def cells(arrays):
    row = np.empty((1, len(arrays)), object)
    for number, array in enumerate(arrays):
        row[0, number] = array
    return row


def poisoned(paths):
    paths = paths.copy()
    paths[2, 7, 1] = np.nan
    return paths


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda i, t: {"pictures": cells(i), "strokes": cells(t)}, "holds pictures, strokes; exp"),
        (lambda i, t: {"im": cells(i[:, :28, :28]), "trj": cells(t)}, "has 28 x 28 pixels; give"),
        (lambda i, t: {"im": cells(i), "trj": cells(poisoned(t))}, "has coordinates that are not"),
        (lambda i, t: {"im": cells(i), "trj": cells(t)}, "holds 8 digits, but --samples 32"),
    ],
)
def test_other_files_of_digits_are_refused(whole, tmp_path, capsys, content, sentence):
    source = digits.load(8, split="test")
    file, folder = tmp_path / "digits.mat", tmp_path / "run"
    scipy.io.savemat(file, content(source.images, source.paths))
    options = ("--data", str(file), "--out", str(folder))
    assert sentence in refused(capsys, "imitate", "digits", *SMALL, *SHORT, *options)
    assert not folder.exists()
