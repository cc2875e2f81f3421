"""Neural dynamic policies in JAX: a policy whose output layer is a differentiable movement."""

from ndp_jax.dmp import DMP, Trajectory, fit, rollout

__all__ = ["DMP", "Trajectory", "fit", "rollout"]
