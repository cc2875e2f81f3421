"""Feature extractors shared by the actor and the critic."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class MLP(nn.Module):
    """Tanh layers with orthogonal weights of gain sqrt(2) and zero biases.

    Maps (..., features) to (..., widths[-1]), in the dtype of its input.
    """

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch width"]:
        for width in self.widths:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(jnp.sqrt(2.0)))(x)
            x = nn.tanh(x)
        return x
