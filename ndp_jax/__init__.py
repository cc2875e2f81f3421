"""Neural dynamic policies in JAX: a policy whose output layer is a differentiable movement."""

from ndp_jax.dmp import DMP, Trajectory, fit, fit_shared, resample, rollout
from ndp_jax.export import LoadedPolicy, load_policy, save_policy

__all__ = [
    "DMP",
    "LoadedPolicy",
    "Trajectory",
    "fit",
    "fit_shared",
    "load_policy",
    "resample",
    "rollout",
    "save_policy",
]
