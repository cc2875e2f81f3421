"""The gradient through the integrator, of networks that put out the primitive's parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ndp_jax import DMP, rollout
from ndp_jax.dmp import FORCINGS, METHODS
from ndp_jax.networks import CNN, MLP

BATCH, DIMS, SEEDS, DIRECTIONS, STEP = 3, 2, 4, 5, 1e-5
NETWORKS = {"mlp": (MLP((5, 4)), (3,)), "cnn": (CNN((2, 3), kernel=3), (9, 9, 1))}
"""Each with the shape of what it sees."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forcing", FORCINGS)
@pytest.mark.parametrize("network", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_gradient_of_random_networks_equals_finite_differences(x64, network, forcing, method):
    """Of the error of each thing that a rollout says, along random directions."""
    dmp = DMP(n_basis=3, n_steps=10, forcing=forcing)
    network, seen = NETWORKS[network]
    model = nn.Sequential([network, nn.Dense(DIMS * (2 + dmp.n_basis))])
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(BATCH, *seen)))
    _, unravel = ravel_pytree(initial(model, jax.random.key(0), seen))

    def errors(parameters, strokes):
        outputs = model.apply(unravel(parameters), inputs).reshape(BATCH, DIMS, -1)
        y0, goal, weights = outputs[..., 0], outputs[..., 1], 30 * outputs[..., 2:]
        trajectory = rollout(dmp, goal, weights, y0, jnp.zeros_like(y0), method=method)
        return jnp.stack([jnp.mean((x - strokes) ** 2) for x in trajectory])

    gradients, errors = jax.jit(jax.jacrev(errors)), jax.jit(errors)
    for seed in range(SEEDS):
        parameters, _ = ravel_pytree(initial(model, jax.random.key(seed), seen))
        strokes = rng.normal(size=(BATCH, dmp.n_steps + 1, DIMS))
        directions = rng.normal(size=(DIRECTIONS, len(parameters)))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        differences = [
            errors(parameters + STEP * along, strokes) - errors(parameters - STEP * along, strokes)
            for along in directions
        ]
        actual = directions @ gradients(parameters, strokes).T
        np.testing.assert_allclose(actual, np.stack(differences) / (2 * STEP), rtol=1e-6)


def initial(model, key, seen):
    """Random parameters in float64, biases included."""
    parameters = model.init(key, jnp.zeros((1, *seen), jnp.float32))
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: x.astype(np.float64), parameters))
    return unravel(flat + 0.1 * jax.random.normal(key, flat.shape, np.float64))
