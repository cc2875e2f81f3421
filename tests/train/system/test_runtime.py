from train.system import runtime


def test_products_are_full_precision():
    runtime.configure_jax()
    import jax

    assert jax.config.jax_default_matmul_precision == "highest"


def test_versions_name_what_decides_the_numbers():
    versions = runtime.versions()
    assert {"python", "ndp-jax", "jax", "mujoco", "device"} <= versions.keys()
