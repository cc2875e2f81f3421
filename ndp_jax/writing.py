"""Writers: a picture becomes the stroke that drew it, through a primitive or without one.

Source: Bahl et al., NeurIPS 2020, section 4.1 (CNN-NDP, CNN-DMP and CNN); Pahič et al., Neural
Networks 127, 2020, for the task.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ndp_jax.dmp import DMP, rollout
from ndp_jax.fitting import orthonormal
from ndp_jax.networks import CNN, parameter_dtype

EXTENT = 5.0
"""Pixels of a stroke that a unit of network output stands for."""


class Written(NamedTuple):
    """A stroke, and what made it.

    Attributes:
      path: positions, pixels, (..., n_steps + 1, 2).
      parameters: of the primitive, (..., 2, P): where it starts, relative to the middle of the
        picture, if that is predicted; the goal, relative to the start; N weights. None without a
        primitive.
    """

    path: Float[Array, "*batch samples 2"]
    parameters: Float[Array, "*batch 2 P"] | None


class StrokeHead(nn.Module):
    """Start, goal and weights of a primitive from features, trained on the stroke.

    Weights of neighbouring basis functions pull nearly alike, so that most of them cancel; in
    their coordinates gradient descent hardly moves. The network's outputs are coordinates in an
    orthonormal basis of the strokes that the primitive can draw (`ndp_jax.fitting.orthonormal`), of
    `EXTENT` pixels each, and one fixed linear map makes parameters of them.

    Attributes:
      dmp: the primitive.
    """

    dmp: DMP

    @nn.compact
    def __call__(
        self, features: Float[Array, "*batch features"], *, given: bool
    ) -> Float[Array, "*batch 2 P"]:
        basis = orthonormal(self.dmp, start=not given)
        outputs = _outputs(2 * len(basis), features)
        outputs = EXTENT * outputs.reshape(*features.shape[:-1], 2, len(basis))
        return outputs @ jnp.asarray(basis.T, features.dtype)


class ParameterHead(nn.Module):
    """The same parameters, each an output of its own, trained on fitted ones.

    Attributes:
      dmp: the primitive.

    The collection `fitted` holds the `mean` and the `deviation` of every parameter over the
    strokes, both (2, P), by which outputs are scaled.
    """

    dmp: DMP

    @nn.compact
    def __call__(
        self, features: Float[Array, "*batch features"], *, given: bool
    ) -> Float[Array, "*batch 2 P"]:
        shape = (2, self.dmp.n_basis + 2 - given)
        mean = self.variable("fitted", "mean", jnp.zeros, shape, features.dtype)
        deviation = self.variable("fitted", "deviation", jnp.ones, shape, features.dtype)
        outputs = _outputs(2 * shape[1], features)
        outputs = outputs.reshape(*features.shape[:-1], *shape)
        mean, deviation = (jnp.broadcast_to(v.value, outputs.shape) for v in (mean, deviation))
        return mean + deviation * outputs


class PathHead(nn.Module):
    """Every coordinate of the path from features, without a primitive.

    Attributes:
      samples: of the path.
    """

    samples: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch samples 2"]:
        outputs = _outputs(2 * self.samples, features)
        return EXTENT * outputs.reshape(*features.shape[:-1], self.samples, 2)


class Writer(nn.Module):
    """A picture to the stroke that drew it.

    Attributes:
      head: how features become a stroke.
      encoder: how the picture becomes features; None for its pixels.
      hidden: widths of the dense layers, with relu.
      method: "matrix" or "scan", see `ndp_jax.rollout`.
    """

    head: StrokeHead | ParameterHead | PathHead
    encoder: CNN | None = None
    hidden: Sequence[int] = (200, 200)
    method: str = "matrix"

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "*batch height width"],
        start: Float[Array, "*batch 2"] | None = None,
    ) -> Written:
        """Writes a batch of pictures.

        Args:
          image: ink from 0 to 1, (..., height, width).
          start: where the stroke starts, in pixels, x right and y down, (..., 2); None to predict
            it.

        Returns:
          The strokes, in pixels, and the primitive's parameters.
        """
        batch, size = image.shape[:-2], image.shape[-2:]
        middle = (jnp.asarray(size[::-1], image.dtype) - 1) / 2
        centre = jnp.broadcast_to(middle, (*batch, 2))
        x = image.reshape(*batch, -1) if self.encoder is None else self.encoder(image[..., None])
        if start is not None:
            x = jnp.concatenate([x, (start - centre) / EXTENT], axis=-1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width, param_dtype=parameter_dtype(x))(x))
        if isinstance(self.head, PathHead):
            return Written(path=centre[..., None, :] + self.head(x), parameters=None)
        parameters = self.head(x, given=start is not None)
        path = integrate(self.head.dmp, parameters, start, middle=middle, method=self.method)
        return Written(path=path, parameters=parameters)


def _outputs(count: int, features: Float[Array, "*batch features"]) -> Float[Array, "*batch count"]:
    """The last layer of a head."""
    return nn.Dense(
        count,
        kernel_init=nn.initializers.normal(0.01),
        param_dtype=parameter_dtype(features),
    )(features)


def integrate(
    dmp: DMP,
    parameters: Float[Array, "*batch 2 P"],
    start: Float[Array, "*batch 2"] | None,
    *,
    middle: Float[Array | np.ndarray, "2"],
    method: str = "matrix",
) -> Float[Array, "*batch samples 2"]:
    """The stroke of `Written.parameters`, set out from rest, in pixels.

    Args:
      dmp: the primitive.
      parameters: (..., 2, P); the first of P is the start if `start` is None.
      start: pixels, (..., 2).
      middle: of the picture, pixels, (2,).
      method: see `ndp_jax.rollout`.
    """
    if start is None:
        centre = jnp.broadcast_to(jnp.asarray(middle, parameters.dtype), parameters.shape[:-1])
        start, parameters = centre + parameters[..., 0], parameters[..., 1:]
    goal, weights = start + parameters[..., 0], parameters[..., 1:]
    return rollout(dmp, goal, weights, start, jnp.zeros_like(start), method=method).position
