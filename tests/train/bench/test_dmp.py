"""All that are timed integrate the same primitive."""

import jax
import numpy as np
import pytest

from ndp_jax import DMP
from train.bench import dmp as suite
from train.system.errors import UserError

SHAPE = {"dims": 2, "batch": 3}


@pytest.fixture(params=[name for name in suite.WAYS if name != "movement_primitives"])
def make(request):
    package, make = suite.WAYS[request.param]
    if package:
        pytest.importorskip(package)
    return make


def test_paths_and_gradients_are_those_of_the_scan(make):
    dmp = DMP(n_basis=4, n_steps=12, alpha=9.0, tau=0.5)
    inputs = suite.draw(dmp, **SHAPE)
    path, gradients = jax.device_get(suite.WAYS["scan"][1](dmp, inputs, True)())
    assert path.shape == (3, 13, 2) and len(gradients) == 4
    other, slopes = jax.tree.map(np.asarray, make(dmp, inputs, True)())
    alone, none = make(dmp, inputs, False)()
    assert none == ()
    for a, b in zip((path, path, *gradients), (other, np.asarray(alone), *slopes), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max())


def test_movement_primitives_are_the_same_in_the_limit():
    pytest.importorskip("movement_primitives")
    dmp = DMP(n_basis=4, n_steps=2000, alpha=9.0)
    inputs = suite.draw(dmp, **SHAPE)
    inputs = inputs._replace(dy0=0 * inputs.dy0, weights=10 * inputs.weights)
    path, _ = jax.device_get(suite.WAYS["scan"][1](dmp, inputs, False)())
    other, _ = suite.WAYS["movement_primitives"][1](dmp, inputs, False)()
    np.testing.assert_allclose(other, path, atol=0.02 * np.abs(path).max())


def test_movement_primitives_have_no_gradients():
    pytest.importorskip("movement_primitives")
    dmp = DMP(n_basis=4, n_steps=5)
    with pytest.raises(UserError, match="has no gradients"):
        suite.WAYS["movement_primitives"][1](dmp, suite.draw(dmp, **SHAPE), True)


def test_what_took_too_long_for_less_is_left_out():
    row = suite.measure_way("scan", suite.ROBOT, 8, False, slow=suite.LONGEST + 1)
    assert row.note == "left out, as less took 6 s"


def test_bytes_are_those_of_inputs_and_outputs():
    dmp = DMP(n_basis=6, n_steps=40)
    *arguments, path = (array.nbytes for array in suite.draw(dmp, dims=9, batch=1))
    assert suite.bytes_moved(suite.ROBOT, backward=False) == sum(arguments) + path
    assert suite.bytes_moved(suite.ROBOT, backward=True) == 2 * (sum(arguments) + path)


def test_the_cells_that_were_asked_for_are_in_both_grids():
    for grid in (suite.QUICK, suite.THOROUGH):
        assert 1024 in grid[(9, 6, 40)] and 100 in grid[(2, 30, 300)]
    assert {shape.n_steps for shape in suite.THOROUGH} == {40, 300}
    assert max(suite.THOROUGH[suite.ROBOT]) == 65_536
