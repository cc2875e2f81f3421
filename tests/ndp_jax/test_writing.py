"""Writers: shapes, starts, orthonormal strokes, gradients, and files."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ndp_jax import DMP, load_policy, load_writer, normalize, rollout, save_policy, save_writer
from ndp_jax.dmp import FORCINGS, METHODS
from ndp_jax.fitting import orthonormal
from ndp_jax.networks import CNN
from ndp_jax.policies import ActorCritic, DirectHead
from ndp_jax.writing import ParameterHead, PathHead, StrokeHead, Writer, integrate

SIZE, STEPS = 9, 12
PEN = DMP(n_basis=4, n_steps=STEPS, forcing="unscaled")
HEADS = {
    "stroke": StrokeHead(dmp=PEN),
    "parameter": ParameterHead(dmp=PEN),
    "path": PathHead(samples=STEPS + 1),
}
STARTS = ("given", "predicted")
ENCODER = CNN((2,), kernel=3)


@pytest.fixture(params=HEADS)
def head(request):
    return request.param


@pytest.fixture(params=STARTS)
def start(request):
    return request.param


def inputs(batch, start):
    """Pictures, and where their strokes start if that is given."""
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(size=(*batch, SIZE, SIZE)), jnp.float32)
    begin = jnp.asarray(rng.uniform(1, SIZE - 2, size=(*batch, 2)), jnp.float32)
    return image, begin if start == "given" else None


@functools.cache
def learned(head, start, encoder=ENCODER):
    """A writer, and its variables after some learning."""
    writer = Writer(head=HEADS[head], encoder=encoder, hidden=(5,))
    variables = jax.jit(writer.init)(jax.random.key(0), *inputs((1,), start))
    flat, unravel = ravel_pytree(variables)
    return writer, unravel(flat + 0.1 * jax.random.normal(jax.random.key(1), flat.shape))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_shapes(head, start, batch):
    writer, variables = learned(head, start)
    written = writer.apply(variables, *inputs(batch, start))
    assert written.path.shape == (*batch, STEPS + 1, 2)
    assert written.path.dtype == jnp.float32
    if head == "path":
        assert written.parameters is None
    else:
        assert written.parameters.shape == (*batch, 2, PEN.n_basis + 1 + (start == "predicted"))
    assert np.std(written.path) > 0.01


def test_a_picture_may_be_seen_without_an_encoder(head):
    writer, variables = learned(head, "predicted", None)
    assert variables["params"]["Dense_0"]["kernel"].shape == (SIZE**2, 5)
    assert writer.apply(variables, inputs((3,), "predicted")[0]).path.shape == (3, STEPS + 1, 2)


@pytest.mark.parametrize("head", ["stroke", "parameter"])
def test_a_stroke_starts_where_it_is_told(head):
    writer, variables = learned(head, "given")
    image, begin = inputs((3,), "given")
    np.testing.assert_array_equal(writer.apply(variables, image, begin).path[:, 0], begin)


@pytest.mark.parametrize("head", ["stroke", "parameter"])
def test_a_predicted_start_is_the_first_parameter_from_the_middle(head):
    writer, variables = learned(head, "predicted")
    written = writer.apply(variables, *inputs((3,), "predicted"))
    middle = (SIZE - 1) / 2
    np.testing.assert_allclose(written.path[:, 0], middle + written.parameters[..., 0], rtol=1e-6)
    again = integrate(PEN, written.parameters, None, middle=np.full(2, middle))
    np.testing.assert_allclose(again, written.path, atol=1e-5)
    assert np.std(written.path[:, 0]) > 1e-3


def test_where_the_stroke_starts_matters_to_all_of_it(head):
    writer, variables = learned(head, "given")
    image, begin = inputs((1,), "given")
    one, other = (writer.apply(variables, image, at).path for at in (begin, begin + 1))
    assert (np.abs(other - one).max(axis=-1) > 1e-3).all()


def test_outputs_of_a_parameter_head_are_deviations_from_the_mean():
    writer, variables = learned("parameter", "predicted")
    image, _ = inputs((3,), "predicted")
    plain = {"head": {"mean": jnp.zeros((2, 6)), "deviation": jnp.ones((2, 6))}}
    outputs = writer.apply(variables | {"fitted": plain}, image).parameters
    mean, deviation = np.arange(12.0, dtype=np.float32).reshape(2, 6), np.full((2, 6), 3.0)
    fitted = {"head": {"mean": jnp.asarray(mean), "deviation": jnp.asarray(deviation, "float32")}}
    actual = writer.apply(variables | {"fitted": fitted}, image).parameters
    np.testing.assert_allclose(actual, mean + 3 * np.asarray(outputs), rtol=1e-5)


def movements(dmp, columns, *, start):
    """What columns of parameters stand for, as `rollout` integrates them, (P, n_steps + 1)."""
    first = int(start)
    y0 = columns[0] if start else np.zeros(columns.shape[1])
    goal, weights = y0 + columns[first], columns[first + 1 :].T
    if dmp.forcing == "scaled":  # which is taken for one of a unit offset
        weights = weights / (goal - y0)[:, None]
    rest = np.zeros((len(y0), 1))
    return np.asarray(rollout(dmp, goal[:, None], weights[:, None], y0[:, None], rest).position)[
        ..., 0
    ]


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("forcing", FORCINGS)
def test_columns_of_the_basis_are_orthonormal_movements(x64, forcing, start):
    dmp = DMP(n_basis=6, n_steps=50, alpha=25.0, forcing=forcing)
    basis = orthonormal(dmp, start=start, damping=0.0)
    assert basis.shape == (7 + start,) * 2 and basis.dtype == np.float64
    drawn = movements(dmp, basis, start=start)
    np.testing.assert_allclose(drawn @ drawn.T / 51, np.eye(7 + start), atol=1e-7)


def test_small_movements_are_not_enlarged(x64):
    dmp = DMP(n_basis=30, n_steps=300, alpha=25.0, forcing="unscaled")
    drawn = movements(dmp, orthonormal(dmp), start=True)
    products = drawn @ drawn.T / 301
    sizes = np.diag(products)
    np.testing.assert_allclose(products, np.diag(sizes), atol=1e-7)
    assert (np.diff(sizes) < 1e-9).all()
    np.testing.assert_allclose(sizes[:5], 1, atol=0.01)
    assert 0 <= sizes[-1] < 0.01
    assert np.abs(orthonormal(dmp)).max() < 1e-3 * np.abs(orthonormal(dmp, damping=0)).max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("start", STARTS)
def test_gradient_of_a_writers_loss_equals_finite_differences(x64, start, method):
    writer = Writer(head=HEADS["stroke"], encoder=ENCODER, hidden=(5,), method=method)
    image, begin = jax.tree.map(lambda x: x.astype(np.float64), inputs((3,), start))
    params = jax.jit(writer.init)(jax.random.key(0), *inputs((1,), start))
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: x.astype(np.float64), params))
    flat += 0.1 * jax.random.normal(jax.random.key(1), flat.shape, np.float64)
    rng = np.random.default_rng(1)
    strokes = jnp.asarray(rng.uniform(0, SIZE - 1, size=(3, STEPS + 1, 2)))

    def loss(flat):
        return jnp.mean((writer.apply(unravel(flat), image, begin).path - strokes) ** 2)

    gradient, loss = jax.jit(jax.grad(loss))(flat), jax.jit(loss)
    directions = rng.normal(size=(10, len(flat)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    step = 1e-5
    differences = [(loss(flat + step * d) - loss(flat - step * d)) / (2 * step) for d in directions]
    np.testing.assert_allclose(directions @ gradient, np.array(differences), rtol=1e-6)


ABOUT = {"image_size": SIZE, "start": "predicted", "model": "cnn-ndp", "hidden": (5,)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "writer.msgpack"


def saved(path, head, start):
    writer, variables = learned(head, start)
    save_writer(path, writer, variables, about=ABOUT | {"start": start})
    return load_writer(path)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_a_loaded_writer_writes_as_before(path, head, start, batch):
    writer, variables = learned(head, start)
    loaded = saved(path, head, start)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
    assert loaded.writer == writer
    assert loaded.about == ABOUT | {"start": start, "hidden": [5]}
    seen = inputs(batch, start)
    with jax.default_matmul_precision("highest"):
        expected = jax.jit(writer.apply)(variables, *seen).path
    actual = loaded(*seen)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    given = [np.asarray(x, float) for x in seen if x is not None]
    np.testing.assert_array_equal(loaded(*given), actual)


def test_a_loaded_writer_shows_in_a_line(path):
    assert repr(saved(path, "path", "predicted")) == (
        "LoadedWriter(image (9, 9) -> path (13, 2); PathHead, 341 parameters)"
    )
    assert repr(saved(path, "stroke", "given")) == (
        "LoadedWriter(image (9, 9), start (2,) -> path (13, 2); StrokeHead, 255 parameters)"
    )


def test_a_loaded_writer_takes_lists(path):
    loaded = saved(path, "stroke", "given")
    image, begin = inputs((), "given")
    np.testing.assert_array_equal(loaded(image.tolist(), begin.tolist()), loaded(image, begin))


def test_a_loaded_writer_is_a_pure_function(path):
    loaded = saved(path, "stroke", "given")
    seen = inputs((3,), "given")
    for transformed in (jax.jit(loaded), jax.vmap(loaded)):
        np.testing.assert_allclose(transformed(*seen), loaded(*seen), atol=1e-4)


@pytest.mark.parametrize("shape", [(), (SIZE,), (SIZE, SIZE + 1), (SIZE, SIZE, 1)])
def test_a_picture_of_another_size_is_refused(path, shape):
    loaded = saved(path, "stroke", "predicted")
    with pytest.raises(ValueError, match=re.escape(f"image has shape {shape}; give (..., 9, 9).")):
        loaded(np.zeros(shape))


def test_a_start_too_many_too_few_or_of_another_shape_is_refused(path):
    image = np.zeros((3, SIZE, SIZE))
    with pytest.raises(ValueError, match="start is given, but this writer predicts it; leave it"):
        saved(path, "path", "predicted")(image, np.zeros((3, 2)))
    loaded = saved(path, "path", "given")
    with pytest.raises(ValueError, match="start is missing; give where the stroke starts"):
        loaded(image)
    with pytest.raises(ValueError, match=re.escape("start has shape (2,); give (3, 2).")):
        loaded(image, np.zeros(2))


def test_policies_and_writers_are_not_taken_for_each_other(path):
    saved(path, "stroke", "given")
    with pytest.raises(ValueError, match="holds a writer of digits; ndp_jax.load_writer reads it"):
        load_policy(path)
    policy = ActorCritic(head=DirectHead(chunk=1, action_size=1), hidden=())
    params = policy.init(jax.random.key(0), *(jnp.zeros((1, 1)),) * 3)
    save_policy(path, policy, params, normalize.init((1,)), about={})
    with pytest.raises(ValueError, match="holds a policy; ndp_jax.load_policy reads it"):
        load_writer(path)


def test_damaged_and_missing_writers_are_refused(path):
    with pytest.raises(ValueError, match=r"writer.msgpack cannot be read \(No such file"):
        load_writer(path)
    saved(path, "stroke", "given")
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 20).astype(int):
        path.write_bytes(content[:place])
        with pytest.raises(ValueError, match="not a policy|truncated or"):
            load_writer(path)
