"""Neural dynamic policies in JAX: a policy whose output layer is a differentiable movement."""

from ndp_jax.dmp import DMP, DMPState, Trajectory, begin, rollout, step
from ndp_jax.export import (
    LoadedPolicy,
    LoadedWriter,
    load_policy,
    load_writer,
    save_policy,
    save_writer,
)
from ndp_jax.fitting import fit, fit_shared, resample

__all__ = [
    "DMP",
    "DMPState",
    "LoadedPolicy",
    "LoadedWriter",
    "Trajectory",
    "begin",
    "fit",
    "fit_shared",
    "load_policy",
    "load_writer",
    "resample",
    "rollout",
    "save_policy",
    "save_writer",
    "step",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("ndp-jax")
    raise AttributeError(f"module 'ndp_jax' has no attribute {name!r}")
