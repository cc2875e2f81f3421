import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from train.imitation import digits
from train.imitation.digit_figures import PREDICTED, draw_digits
from train.system.errors import UserError


@pytest.fixture(scope="module")
def some():
    return digits.generate(5, seed=0, split="test")


def drawn(path):
    return matplotlib.image.imread(path)[..., :3]


def test_draws_as_many_rows_as_needed(some, tmp_path):
    draw_digits(some.images, some.paths, path=tmp_path / "one.png", columns=5)
    draw_digits(some.images, some.paths, path=tmp_path / "two.png", columns=3)
    one, two = drawn(tmp_path / "one.png"), drawn(tmp_path / "two.png")
    assert one.shape[1] / two.shape[1] == pytest.approx(5 / 3, rel=0.01)
    assert two.shape[0] > 1.5 * one.shape[0]


def test_predictions_are_drawn_over_the_same_digits(some, tmp_path):
    color = np.array(to_rgb(PREDICTED))
    counts = []
    for name, predicted in {"without": None, "with": some.paths + np.float32(1)}.items():
        path = tmp_path / f"{name}.png"
        draw_digits(some.images, some.paths, predicted, path=path)
        below = drawn(path)[60:]  # the legend
        counts.append((np.abs(below - color).max(axis=-1) < 0.1).sum())
    assert counts[0] == 0 and counts[1] > 200


def test_a_picture_that_cannot_be_written_is_named(some, tmp_path):
    path = tmp_path / "missing" / "digits.png"
    with pytest.raises(UserError, match=r"Cannot write the image .*missing"):
        draw_digits(some.images, some.paths, path=path)
