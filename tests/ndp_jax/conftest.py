import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    """No silent change of dtype or rank anywhere in ndp_jax."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield
