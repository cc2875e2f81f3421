"""Feature extractors: of states, and of pictures."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


def parameter_dtype(x: Array) -> jnp.dtype:
    """Of a layer that is given `x`: float64 for float64, else float32."""
    return jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


class MLP(nn.Module):
    """Tanh layers with orthogonal weights of gain sqrt(2) and zero biases.

    Maps (..., features) to (..., widths[-1]), in the dtype of its input.
    """

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch width"]:
        for width in self.widths:
            x = nn.Dense(
                width,
                kernel_init=nn.initializers.orthogonal(jnp.sqrt(2.0)),
                param_dtype=parameter_dtype(x),
            )(x)
            x = nn.tanh(x)
        return x


class CNN(nn.Module):
    """Convolutions that halve the picture, relu after each, then a row of features.

    Strided, where LeNet pools: an eighth of the arithmetic, and no gradient of a maximum. Maps
    (..., height, width, channels) to (..., features), in the dtype of its input.

    Attributes:
      channels: of each layer.
      kernel: height and width of the windows in pixels; they are 2 pixels apart.
    """

    channels: Sequence[int] = (20, 50)
    kernel: int = 5

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch height width channels"]
    ) -> Float[Array, "*batch features"]:
        for channels in self.channels:
            convolve = nn.Conv(
                channels,
                (self.kernel, self.kernel),
                strides=2,
                padding="VALID",
                param_dtype=parameter_dtype(x),
            )
            x = nn.relu(convolve(x))
        return x.reshape(*x.shape[:-3], -1)
