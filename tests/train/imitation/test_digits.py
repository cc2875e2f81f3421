import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ndp_jax import DMP, fit, rollout
from train.imitation import digits
from train.system.errors import UserError

COUNT = 2 * digits.BATCH


@pytest.fixture(scope="module")
def sampled():
    return digits.generate(COUNT, seed=0, split="train")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ndp-jax" / "digits"


def squared_error(paths):
    return float(np.mean((paths - paths.mean(axis=0)) ** 2))


def lengths(paths):
    """Of the 300 steps of every path."""
    return np.linalg.norm(np.diff(paths.astype(float), axis=-2), axis=-1)


def test_shapes_and_types(sampled):
    assert sampled.images.shape == (COUNT, 40, 40)
    assert sampled.paths.shape == (COUNT, 301, 2)
    assert sampled.labels.shape == (COUNT,)
    assert [array.dtype for array in sampled] == [np.float32, np.float32, np.int32]


@pytest.mark.slow
def test_one_digit_is_one_of_a_batch():
    keys = digits.keys_of(3, "train", np.arange(4))
    alone, batch = digits.sample(keys[2]), digits.sample_batch(keys)
    assert alone.labels == batch.labels[2]
    np.testing.assert_allclose(alone.paths, batch.paths[2], atol=1e-4)
    np.testing.assert_allclose(alone.images, batch.images[2], atol=1.01 / 255)


def test_images_are_ink_from_0_to_1(sampled):
    assert sampled.images.min() == 0
    assert (sampled.images.max(axis=(1, 2)) > 0.9).all()
    assert sampled.images.max() <= 1
    levels = 255 * sampled.images
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


def test_ink_lies_along_the_path_and_nowhere_else(sampled):
    rows, columns = np.mgrid[:40, :40]
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2)
    for image, path in zip(sampled.images[:50], sampled.paths[:50], strict=True):
        distance = np.linalg.norm(pixels - path, axis=-1).min(axis=1).reshape(40, 40)
        expected = np.clip(1.5 - distance, 0, 1)
        np.testing.assert_allclose(image, expected, atol=0.1)  # a path's samples are up to 1 apart
        assert np.abs(image - expected).mean() < 0.002


def test_a_stroke_is_as_wide_as_the_pen():
    down = jnp.linspace(4, 36, 129)
    image = np.asarray(digits.draw(jnp.stack([jnp.full(129, 12.0), down], axis=1)))
    np.testing.assert_allclose(image[10:30].sum(axis=1), digits.PEN, atol=0.02)
    assert (image[10:30].argmax(axis=1) == 12).all()
    assert not image[:2].any() and not image[38:].any()


def test_image_axes_are_y_and_x():
    image = np.asarray(digits.draw(jnp.array([[30.0, 5.0]])))
    assert np.unravel_index(image.argmax(), image.shape) == (5, 30)


def test_everything_is_inside_the_canvas(sampled):
    margin = digits.PEN / 2
    assert sampled.paths.min() > margin - 0.5
    assert sampled.paths.max() < 39.5 - margin
    edges = (sampled.images[:, [0, -1]], sampled.images[:, :, [0, -1]])
    assert all((edge == 0).all() for edge in edges)


def test_the_pen_moves_with_minimum_jerk(sampled):
    time = np.arange(300) / 300 + 1 / 600
    expected = 30 * time**2 * (1 - time) ** 2 / 300  # fraction of the way, per step
    step = lengths(sampled.paths)
    share = step / step.sum(axis=1, keepdims=True)
    assert share[:, [0, -1]].max() < 1e-4
    np.testing.assert_allclose(share.mean(axis=0), expected, atol=1e-4)
    np.testing.assert_allclose(share, np.broadcast_to(expected, share.shape), atol=2.5e-3)
    np.testing.assert_allclose(share.mean(axis=0), share.mean(axis=0)[::-1], atol=1e-4)


def test_strokes_have_no_jumps_and_no_sharp_corners(sampled):
    velocity = np.diff(sampled.paths.astype(float), axis=1)
    speed = np.linalg.norm(velocity, axis=-1)
    assert speed.max() < 1
    direction = velocity[:, 30:-30] / speed[:, 30:-30, None]  # at the ends it is rounding
    turn = np.arccos(np.clip((direction[:, 1:] * direction[:, :-1]).sum(axis=-1), -1, 1))
    assert np.degrees(turn.max()) < 120
    assert np.degrees(np.percentile(turn.max(axis=1), 90)) < 75


def test_affine_map_stays_in_its_ranges():
    keys = jax.random.split(jax.random.key(1), 2000)
    matrix, shift = map(np.asarray, jax.vmap(digits.random_map)(keys))
    rotation, rest = np.linalg.qr(matrix.astype(float))
    sign = np.sign(np.diagonal(rest, axis1=1, axis2=2))
    rotation, rest = rotation * sign[:, None, :], sign[:, :, None] * rest
    drawn = {
        "angle": np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])) / 8,
        "scale x": (rest[:, 0, 0] - 1) / 0.1,
        "scale y": (rest[:, 1, 1] - 1) / 0.1,
        "shear": rest[:, 0, 1] / rest[:, 1, 1] / 0.1,
        "shift x": shift[:, 0] / 3,
        "shift y": shift[:, 1] / 3,
    }
    for name, values in drawn.items():
        assert np.abs(values).max() < 1 + 1e-5, name
        assert values.min() < -0.98 and values.max() > 0.98, name
        assert abs(values.mean()) < 0.06, name


def test_labels_are_uniform(sampled):
    counts = np.bincount(sampled.labels, minlength=10)
    assert len(counts) == 10
    assert ((counts - COUNT / 10) ** 2 / (COUNT / 10)).sum() < 33.7  # chi-squared, p = 1e-4


def test_spread_and_fit_are_those_of_the_family(sampled):
    """Literature: 21.8 around the mean of all, 3.9 around that of a digit; fits 1.23 to .0017."""
    within = [squared_error(sampled.paths[sampled.labels == label]) for label in range(10)]
    assert squared_error(sampled.paths) == pytest.approx(21.8, rel=0.3)
    assert np.mean(within) == pytest.approx(3.9, rel=0.3)
    with jax.enable_x64():
        paths = jnp.asarray(sampled.paths[:200], jnp.float64)
        start, velocity = paths[:, 0], (paths[:, 1] - paths[:, 0]) * 300
        for n_basis, expected in {5: 1.23, 10: 0.085, 30: 0.0017}.items():
            dmp = DMP(n_basis=n_basis, n_steps=300, alpha=25)
            goal, weights = fit(dmp, paths)
            drawn = rollout(dmp, goal, weights, start, velocity, method="matrix").position
            assert expected / 2 < jnp.mean((drawn - paths) ** 2) < 2 * expected


def test_same_seed_same_digits(sampled):
    again = digits.generate(digits.BATCH, seed=0, split="train")
    for first, second in zip(sampled, again, strict=True):
        np.testing.assert_array_equal(first[: digits.BATCH], second)


@pytest.mark.parametrize(("seed", "split"), [(1, "train"), (0, "test")])
def test_another_seed_or_split_has_other_digits(sampled, seed, split):
    other = digits.generate(COUNT, seed=seed, split=split)
    ours, theirs = ({path.tobytes() for path in some.paths} for some in (sampled, other))
    assert len(ours) == len(theirs) == COUNT
    assert not ours & theirs


def test_keys_of_splits_differ():
    keys = [
        {key.tobytes() for key in np.asarray(jax.random.key_data(keys))}
        for split in digits.SPLITS
        for keys in [digits.keys_of(0, split, np.arange(20000))]
    ]
    assert [len(some) for some in keys] == [20000, 20000]
    assert not set.intersection(*keys)


def test_load_makes_a_file_once(cache, monkeypatch):
    made = digits.load(7, seed=2)
    (file,) = cache.iterdir()
    monkeypatch.setattr(digits, "generate", None)
    for first, second in zip(made, digits.load(7, seed=2), strict=True):
        np.testing.assert_array_equal(first, second)
    assert file.suffix == ".npz"


def test_load_gives_what_was_generated(cache):
    expected = digits.generate(7, seed=2, split="test")
    for actual, wanted in zip(digits.load(7, seed=2, split="test"), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6)
        assert actual.dtype == wanted.dtype


def test_everything_that_decides_the_digits_names_the_file(cache, monkeypatch):
    digits.load(2)
    digits.load(3)
    digits.load(2, seed=1)
    digits.load(2, split="test")
    monkeypatch.setattr(digits, "VERSION", digits.VERSION + 1)
    digits.load(2)
    assert len(list(cache.iterdir())) == 5


def test_an_interrupted_write_leaves_nothing(cache, monkeypatch):
    def fill_the_disk(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill_the_disk)
    with pytest.raises(UserError, match=r"Cannot write .*No space left.*XDG_CACHE_HOME"):
        digits.load(2)
    assert list(cache.iterdir()) == []


def test_a_file_in_the_way_is_named(cache):
    cache.parent.write_text("in the way")
    with pytest.raises(UserError, match="Cannot write .*XDG_CACHE_HOME"):
        digits.load(2)


def damage_cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def damage_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def damage_header(file):
    file.write_bytes(file.read_bytes().replace(b"'fortran_order'", b"'fortran_order\n", 1))


def damage_empty(file):
    file.write_bytes(b"")


def damage_text(file):
    file.write_text("not an archive")


def damage_array(file):
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))


def damage_names(file):
    np.savez(file, images=np.zeros(3))


def damage_count(file):
    with np.load(file) as stored:
        np.savez(file, **{name: stored[name][:-1] for name in stored})


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_cut, damage_bit, damage_header, damage_empty, damage_text),
        *(damage_array, damage_names, damage_count),
    ],
)
def test_a_damaged_file_is_refused_by_name(cache, damage):
    digits.load(4)
    (file,) = cache.iterdir()
    damage(file)
    with pytest.raises(UserError) as caught:
        digits.load(4)
    message = str(caught.value)
    assert str(file) in message and "damaged" in message and message.endswith("delete it.")
    file.unlink()
    assert digits.load(4).labels.shape == (4,)


@pytest.mark.parametrize("count", [0, -3])
def test_no_digits_are_refused(cache, count):
    with pytest.raises(UserError, match=f"number of digits is {count}"):
        digits.load(count)
