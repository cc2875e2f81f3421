import jax
import jax.numpy as jnp
import numpy as np

from envs.fusion import materialize


def pairs(x):
    swapped = jnp.concatenate([x[1:], x[:1]])
    return {"sum": jnp.sin(x) + swapped, "stack": jnp.stack([x, swapped])}


def test_values_do_not_change():
    x = jnp.arange(6.0)
    expected = pairs(x)
    jax.tree.map(np.testing.assert_array_equal, materialize(pairs)(x), expected)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(materialize(pairs))(x), expected)


def test_batches_and_closures():
    x, offset = jnp.arange(12.0).reshape(2, 6), jnp.array([1.0, 2.0])

    def shifted(x, offset):
        return materialize(lambda x: pairs(x + offset))(x)

    expected = jax.tree.map(lambda *y: jnp.stack(y), *map(pairs, x + offset[:, None]))
    actual = jax.vmap(shifted)(x, offset)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), actual, expected)


def test_on_the_cpu_a_barrier_follows_every_concatenation(monkeypatch):
    def barriers():
        return str(jax.make_jaxpr(materialize(pairs))(jnp.arange(6.0))).count("barrier")

    assert barriers() == str(jax.make_jaxpr(pairs)(jnp.arange(6.0))).count("concatenate") > 0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert barriers() == 0
