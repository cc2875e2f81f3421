import platform

import flax
import jax
import jaxlib
import mujoco
import optax

import ndp_jax
from train.system import runtime


def test_products_are_full_precision():
    runtime.configure_jax()
    assert jax.config.jax_default_matmul_precision == "highest"


def test_versions_name_what_decides_the_numbers():
    versions = runtime.versions()
    assert versions["python"] == platform.python_version()
    assert versions["ndp-jax"] == ndp_jax.__version__
    for package in (jax, jaxlib, flax, optax, mujoco):
        assert versions[package.__name__] == package.__version__
    assert versions["device"] == jax.devices()[0].device_kind
    with jax.enable_x64(True), jax.default_matmul_precision("tensorfloat32"):
        changed = runtime.versions().items() - versions.items()
    assert dict(changed) == {"JAX_ENABLE_X64": "1", "matmul_precision": "tensorfloat32"}
