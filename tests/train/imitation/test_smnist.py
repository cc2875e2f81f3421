import numpy as np
import pytest
import scipy.io

from train.imitation import digits, smnist
from train.system.errors import UserError

COUNT = 6


@pytest.fixture(scope="module")
def source():
    return digits.generate(COUNT, seed=4, split="train")


def cells(arrays):
    """A cell array of one row."""
    row = np.empty((1, len(arrays)), object)
    for number, array in enumerate(arrays):
        row[0, number] = array
    return row


def save(folder, images, trajectories, names=("imageArray", "trajArray"), struct=None, **options):
    file = folder / "digits.mat"
    content = {names[0]: cells(images), names[1]: cells(trajectories)}
    scipy.io.savemat(file, {struct: content} if struct else content, **options)
    return file


def timed(paths):
    """Trajectories with the time as a third column."""
    time = np.linspace(0, 3, 301)[:, None]
    return [np.hstack([path, time]) for path in paths]


def check(actual, source):
    np.testing.assert_allclose(actual.images, source.images, atol=1e-6)
    np.testing.assert_allclose(actual.paths, source.paths, atol=1e-5)
    assert (actual.labels == -1).all() and actual.labels.shape == (COUNT,)
    assert [array.dtype for array in actual] == [np.float32, np.float32, np.int32]


@pytest.mark.parametrize("struct", [None, "Data", "slike"])
@pytest.mark.parametrize("names", [("imageArray", "trajArray"), ("im", "trj")])
def test_reads_variables_and_structs(tmp_path, source, names, struct):
    check(smnist.read(save(tmp_path, source.images, timed(source.paths), names, struct)), source)


def test_reads_arrays_of_structs(tmp_path, source):
    data = np.empty((1, COUNT), [("im", object), ("trj", object), ("DMP_object", object)])
    for number, trajectory in enumerate(timed(source.paths)):
        data[0, number] = (source.images[number], trajectory, np.ones(3))
    file = tmp_path / "digits.mat"
    scipy.io.savemat(file, {"Data": data, "opis": "about"})
    check(smnist.read(file), source)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_flattened_images_are_put_under_their_strokes(tmp_path, source, order, shape):
    flat = [image.ravel(order).reshape(shape) for image in source.images]
    check(smnist.read(save(tmp_path, flat, timed(source.paths))), source)


def test_reads_bytes_compressed_files_and_paths_without_time(tmp_path, source):
    levels = np.round(255 * source.images).astype(np.uint8)
    check(smnist.read(save(tmp_path, levels, source.paths, do_compression=True)), source)


def test_reads_a_single_digit(tmp_path, source):
    actual = smnist.read(save(tmp_path, source.images[:1], timed(source.paths[:1]), struct="Data"))
    np.testing.assert_allclose(actual.images, source.images[:1], atol=1e-6)


def one_with(arrays, index, value):
    changed = [np.array(array, float) for array in arrays]
    changed[3][index] = value
    return changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda i, t: (i[:4], t), "has 4 images and 6 trajectories"),
        (lambda i, t: (i[:, :28, :28], t), "Image 0 of .* has 28 x 28 pixels; give 40 x 40"),
        (lambda i, t: (one_with(i, (2, 2), np.nan), t), "Image 3 of .* between 0 and 255"),
        (lambda i, t: (one_with(i, (2, 2), -1), t), "Image 3 of .* between 0 and 255"),
        (lambda i, t: (i, [path[::2] for path in t]), "Trajectory 0 of .* is 151 x 3; give 301"),
        (lambda i, t: (i, one_with(t, (7, 1), np.nan)), "Trajectory 3 of .* not numbers"),
        (lambda i, t: (i, [path + 15 for path in t]), "do not lie on the ink"),
        (lambda i, t: (["text"] * 6, t), "Image 0 of"),
        (lambda i, t: ([], []), "has 0 images"),
    ],
)
def test_other_content_is_refused_in_a_sentence(tmp_path, source, change, sentence):
    file = save(tmp_path, *change(source.images, timed(source.paths)))
    with pytest.raises(UserError, match=sentence) as caught:
        smnist.read(file)
    assert "\n" not in str(caught.value)


def test_another_layout_is_named(tmp_path):
    file = tmp_path / "other.mat"
    scipy.io.savemat(file, {"X": np.zeros(3), "Data": {"Y": 1.0}})
    with pytest.raises(UserError, match="holds X, Data; expected are imageArray and trajArray"):
        smnist.read(file)


def test_numbers_in_place_of_cells_are_refused(tmp_path):
    file = tmp_path / "other.mat"
    scipy.io.savemat(file, {"im": np.zeros((6, 1600)), "trj": np.zeros((6, 301, 3))})
    with pytest.raises(UserError, match="Image 0 of .* has 6 x 1600 pixels"):
        smnist.read(file)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "Cannot read .*No such file"),
        (b"", "Cannot read .*give a MATLAB file"),
        (b"text " * 100, "Cannot read .*give a MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), "format 7.3"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, sentence):
    file = tmp_path / "digits.mat"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        smnist.read(file)


def test_a_cut_file_is_refused(tmp_path, source):
    file = save(tmp_path, source.images, timed(source.paths))
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(UserError, match="Cannot read"):
        smnist.read(file)


def test_a_damaged_compressed_file_is_refused(tmp_path, source):
    file = save(tmp_path, source.images, timed(source.paths), do_compression=True)
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 255
    file.write_bytes(content)
    with pytest.raises(UserError, match="Cannot read"):
        smnist.read(file)
