"""The peer in PyTorch of CNN-NDP, its primitive integrated by a Python loop.

The forcing of all steps is one product before the loop, which is kinder to the peer than the
basis functions computed anew in every step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from jaxtyping import Array

from ndp_jax import DMP
from ndp_jax.fitting import orthonormal
from ndp_jax.writing import EXTENT
from train.imitation.digit_writing import MIDDLE

functional = torch.nn.functional


class Writer(torch.nn.Module):
    """The same function as a model in JAX of convolutions, dense layers and a primitive.

    Maps pictures (batch, height, width) to positions (batch, dmp.n_steps + 1, 2).

    Args:
      dmp: the primitive, with Gaussian basis functions.
      variables: of `ndp_jax.writing.Writer` with a `StrokeHead`.
      device: where to put them.
    """

    def __init__(self, dmp: DMP, variables: Mapping[str, Any], *, device: Any) -> None:
        super().__init__()
        leaves = [np.array(leaf) for leaf in jax.tree.leaves(variables)]
        layers = list(zip(leaves[1::2], leaves[0::2], strict=True))  # kernel and bias, by name
        layers.sort(key=lambda layer: -layer[0].ndim)
        convolutions = [kernel for kernel, _ in layers if kernel.ndim == 4]
        dense = [kernel for kernel, _ in layers if kernel.ndim == 2]
        biases = [bias for _, bias in layers]
        channels, width = convolutions[-1].shape[-1], dense[0].shape[-1]
        side = round((len(dense[0]) / channels) ** 0.5)
        by_pixel = dense[0].reshape(side, side, channels, width)
        # A picture's features come by channels here, by pixels in JAX.
        dense[0] = by_pixel.transpose(2, 0, 1, 3).reshape(-1, width)
        weights = [kernel.transpose(3, 2, 0, 1) for kernel in convolutions]
        weights += [kernel.T for kernel in dense]

        def own(arrays: list[np.ndarray]) -> Any:
            tensors = (to_tensor(array, device) for array in arrays)
            return torch.nn.ParameterList(torch.nn.Parameter(tensor) for tensor in tensors)

        self.weights, self.biases = own(weights), own(biases)
        self.features = to_tensor(features(dmp), device)
        self.movements = to_tensor(EXTENT * orthonormal(dmp), device)
        self.dmp = dmp

    def forward(self, images: Any) -> Any:
        x = images[:, None]
        layers = list(zip(self.weights, self.biases, strict=True))
        for weight, bias in layers[:-1]:
            if weight.ndim == 4:
                x = torch.relu(functional.conv2d(x, weight, bias, stride=2))
            else:
                x = torch.relu(functional.linear(x.flatten(1), weight, bias))
        outputs = functional.linear(x, *layers[-1]).reshape(len(x), 2, -1)
        return integrate(self.dmp, self.features, functional.linear(outputs, self.movements))


def integrate(dmp: DMP, features: Any, movements: Any) -> Any:
    """Positions (batch, dmp.n_steps + 1, 2) of movements (batch, 2, P), see `Written`."""
    position = float(MIDDLE[0]) + movements[..., 0]
    goal, weights = position + movements[..., 1], movements[..., 2:]
    forcing = weights @ features
    if dmp.forcing == "scaled":
        forcing = forcing * (goal - position)[..., None]
    if dmp.forcing == "hoffmann":
        phase = (1 - dmp.alpha_x / dmp.n_steps) ** torch.arange(1, dmp.n_steps + 1).to(forcing)
        forcing = forcing - dmp.alpha**2 / 4 * (goal - position)[..., None] * phase
    z, dt = torch.zeros_like(position), dmp.tau / dmp.n_steps
    positions = [position]
    for push in forcing.unbind(-1):
        z_rate = (dmp.alpha * (dmp.alpha / 4 * (goal - position) - z) + push) / dmp.tau
        position = position + z / dmp.tau * dt
        z = z + z_rate * dt
        positions.append(position)
    return torch.stack(positions, dim=1)


def features(dmp: DMP) -> np.ndarray:
    """x psi_i(x) / sum_j psi_j(x) in every step, (N, n_steps)."""
    phase = (1 - dmp.alpha_x / dmp.n_steps) ** np.arange(1, dmp.n_steps + 1)
    centres = np.exp(-dmp.alpha_x * np.linspace(0, 1, dmp.n_basis))[:, None]
    psi = np.exp(-(dmp.n_basis**1.5) / centres / dmp.alpha_x * (phase - centres) ** 2)
    return phase * psi / psi.sum(axis=0)


def to_tensor(array: np.ndarray | Array, device: Any) -> Any:
    """A contiguous copy in float32."""
    return torch.tensor(np.array(array, np.float32, order="C"), device=device)


def device() -> Any:
    """Where JAX computes, if PyTorch can compute there, too."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def make_step(
    writer: Writer, images: Array, strokes: Array, *, learning_rate: float
) -> Callable[[], float]:
    """A call that makes one more step of Adam and returns the loss before it."""
    where = writer.features.device
    pictures, targets = to_tensor(images, where), to_tensor(strokes, where)
    optimiser = torch.optim.Adam(writer.parameters(), lr=learning_rate)

    def step() -> float:
        optimiser.zero_grad()
        loss = functional.mse_loss(writer(pictures), targets)
        loss.backward()
        optimiser.step()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return loss.item()

    return step


def make_gradient(
    dmp: DMP, movements: Array, strokes: Array, *, device: Any
) -> Callable[[], np.ndarray]:
    """A call that returns the gradient of the error with respect to the movements."""
    of_steps, targets = to_tensor(features(dmp), device), to_tensor(strokes, device)
    leaf = to_tensor(movements, device).requires_grad_()

    def gradient() -> np.ndarray:
        error = functional.mse_loss(integrate(dmp, of_steps, leaf), targets)
        (slope,) = torch.autograd.grad(error, leaf)
        return slope.cpu().numpy()

    return gradient
