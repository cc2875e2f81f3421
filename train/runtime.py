"""What the process needs before JAX and MuJoCo are imported or used."""

import os
import sys
from importlib.metadata import version
from pathlib import Path

from envs.importing import importing_mjx

PACKAGES = ("ndp-jax", "jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx")


def prepare() -> None:
    """Sets what must be set before MuJoCo is imported and JAX is used, and imports both."""
    import absl.logging

    configure_jax()
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax's notes; its errors become sentences
    with importing_mjx():
        import mujoco.mjx  # noqa: F401


def configure_jax() -> None:
    """Full float32 matrix products and a compilation cache that outlives the process.

    TF32, the default on recent GPUs, keeps 10 bits of mantissa; MJX's solver diverges on it.
    """
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cache_folder() -> Path:
    """The project's folder in the user's cache, which XDG_CACHE_HOME moves."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ndp-jax"


def versions() -> dict[str, str]:
    """What decides a run's numbers beside its settings: packages, device and precision."""
    import jax

    found = {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}
    precision = jax.config.jax_default_matmul_precision or "default"
    return found | {"device": jax.devices()[0].device_kind, "matmul_precision": precision}
