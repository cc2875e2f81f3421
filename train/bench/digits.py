"""Time of a training step of CNN-NDP, next to PyTorch with a loop over the Euler steps."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

from configs import DigitsConfig
from ndp_jax import DMP
from ndp_jax.dmp import METHODS
from ndp_jax.writing import Writer, integrate
from train.bench.speed import compiled, machine, seconds
from train.imitation.digit_writing import MIDDLE, make_dmp, make_writer
from train.imitation.digits import SIZE

REPEATS = 20


def error(positions: Array, strokes: Array) -> Array:
    """Mean squared distance along one coordinate, ()."""
    return jnp.mean((positions - strokes) ** 2)


def bench_digits(config: DigitsConfig, *, console: Console) -> None:
    """Prints what a training step and the integration alone take, in JAX and in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    from train.bench import torch_writer

    dmp, batch = make_dmp(config), config.descent.batch
    device, usual = torch_writer.device(), torch.get_num_threads()
    console.print(
        f"{machine()}; "
        f"torch {torch.__version__} on {device}, {usual} threads unless told otherwise",
        soft_wrap=True,
    )
    images, strokes, movements = examples(dmp, batch)
    variables = make_writer(config).init(jax.random.key(config.seed), images)
    rate = config.descent.learning_rate
    peers: list[Row] = []
    for threads in sorted({1, usual}):
        torch.set_num_threads(threads)
        writer = torch_writer.Writer(dmp, variables, device=device)
        step = torch_writer.make_step(writer, images, strokes, learning_rate=rate)
        gradient = torch_writer.make_gradient(dmp, movements, strokes, device=device)
        peers.append(timed(f"PyTorch, {threads} thr.", step, gradient))
    torch.set_num_threads(usual)
    ours: list[Row] = []
    compilations: dict[str, float] = {}
    for method in METHODS:
        model = make_writer(config).clone(method=method)
        step, compilations[method] = make_step(model, config, variables, images, strokes)
        gradient = functools.partial(make_gradient(dmp, method), movements, strokes)
        ours.append(timed(f"JAX, {method}", step, gradient))

    size = sum(x.size for x in jax.tree.leaves(variables))
    columns = ("", "training step", "faster", "integration", "faster", "first loss")
    title = f"CNN-NDP, {size:,} parameters, batch {batch}, {dmp.n_steps} Euler steps"
    table = Table(*columns, title=title)
    best_step, best_integration = min(p.step for p in peers), min(p.integration for p in peers)
    for row in (*peers, *ours):
        table.add_row(
            row.name,
            f"{1000 * row.step:.2f} ms",
            f"{best_step / row.step:.1f} x",
            f"{1000 * row.integration:.2f} ms",
            f"{best_integration / row.integration:.1f} x",
            f"{row.first_loss:.6f}",
        )
    console.print(table)
    compiling = ", ".join(f"{time:.1f} s ({method})" for method, time in compilations.items())
    console.print(
        f"Medians of {REPEATS}; the integration is alone, with its gradient. Faster than the best "
        "PyTorch, whose several threads wait for each other where other programs compute, too. "
        f"Compiling a step took {compiling}.",
        soft_wrap=True,
    )


class Row(NamedTuple):
    """Seconds of a training step and of the integration alone, and the loss before any step."""

    name: str
    step: float
    integration: float
    first_loss: float


def timed(name: str, step: Callable[[], Any], gradient: Callable[[], Any]) -> Row:
    """Measures both after the first step, which is not counted."""
    first_loss = float(step())
    return Row(name, seconds(step, repeats=REPEATS), seconds(gradient, repeats=REPEATS), first_loss)


def examples(dmp: DMP, batch: int) -> tuple[Array, Array, Array]:
    """Pictures, strokes and parameters of movements, random: no time depends on their values."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((SIZE, SIZE), (dmp.n_steps + 1, 2), (2, 2 + dmp.n_basis))
    images, strokes, movements = (
        jax.random.normal(key, (batch, *shape)) for key, shape in zip(keys, shapes, strict=True)
    )
    return images, strokes, movements


def make_step(
    model: Writer, config: DigitsConfig, variables: Any, images: Array, strokes: Array
) -> tuple[Callable[[], Array], float]:
    """A call that makes one more step and returns the loss before it, and seconds of compiling it.

    A program of its own for each step, not a `lax.scan` over steps: inside loops XLA runs
    convolutions on CPUs about 15 times slower.
    """
    optimiser = optax.adam(config.descent.learning_rate)

    def step(state: tuple[Any, Any], images: Array, strokes: Array):
        parameters, memory = state

        def loss(parameters: Any) -> Array:
            written: Any = model.apply(parameters, images)
            return error(written.path, strokes)

        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, memory = optimiser.update(gradient, memory, parameters)
        return (optax.apply_updates(parameters, updates), memory), value

    state = jax.tree.map(jnp.copy, (variables, optimiser.init(variables)))
    program, compilation = compiled(step, state, images, strokes, donate=True)

    def run() -> Array:
        nonlocal state
        state, value = program(state, images, strokes)
        jax.block_until_ready(state)
        return value

    return run, compilation


def make_gradient(dmp: DMP, method: str) -> Callable[[Array, Array], Array]:
    """Gradient of the error with respect to the movements' parameters, compiled."""

    def loss(movements: Array, strokes: Array) -> Array:
        return error(integrate(dmp, movements, None, middle=MIDDLE, method=method), strokes)

    return jax.jit(jax.grad(loss))
