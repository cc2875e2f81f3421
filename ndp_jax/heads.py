"""Policy heads made for an environment and a configuration."""

from typing import Any, Protocol, runtime_checkable

from ndp_jax.dmp import DMP
from ndp_jax.policies import ClosedForm, DirectHead, Euler, PrimitiveHead, Solver

CORRELATION = 0.9
"""Of the T actions of a trajectory that is explored as a whole: nearly one action, held."""


@runtime_checkable
class Robot(Protocol):
    """What a head has to know of an environment.

    Attributes:
      action_size: A.
      action_scale: position change of a unit action, in the units that the primitive integrates.
      dt: seconds per step.
    """

    action_scale: float

    @property
    def action_size(self) -> int: ...
    @property
    def dt(self) -> float: ...


@runtime_checkable
class Settings(Protocol):
    """What a head has to know of a configuration.

    Attributes:
      steps_per_query: T.
      explores_trajectories: whether the noise of its T actions is drawn once.
      primitive: settings of the primitive; alpha and the scales may be traced.
    """

    @property
    def steps_per_query(self) -> int: ...
    @property
    def explores_trajectories(self) -> bool: ...
    @property
    def primitive(self) -> Any: ...


def primitive(env: Robot, config: Settings) -> PrimitiveHead:
    """T actions through a primitive that lasts T steps."""
    settings = config.primitive
    return _primitive(env, config, forcing=settings.forcing, solver=Euler(settings.method))


def prodmp(env: Robot, config: Settings) -> PrimitiveHead:
    """T actions through a ProDMP that lasts T steps."""
    return _primitive(env, config, forcing="unscaled", solver=ClosedForm())


def _primitive(env: Robot, config: Settings, *, forcing: str, solver: Solver) -> PrimitiveHead:
    chunk, settings = config.steps_per_query, config.primitive
    return PrimitiveHead(
        dmp=DMP(
            n_basis=settings.n_basis,
            n_steps=chunk * settings.substeps,
            alpha_x=settings.alpha_x,
            kernel=settings.kernel,
            forcing=forcing,
        ),
        chunk=chunk,
        action_size=env.action_size,
        duration=chunk * env.dt,
        action_scale=env.action_scale,
        goal_scale=settings.goal_scale,
        weight_scale=settings.weight_scale,
        alpha=settings.alpha,
        solver=solver,
    )


def direct(env: Robot, config: Settings) -> DirectHead:
    """T actions as the network says them."""
    return DirectHead(
        chunk=config.steps_per_query,
        action_size=env.action_size,
        correlation=CORRELATION if config.explores_trajectories else 0.0,
    )
