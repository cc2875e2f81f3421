"""What `ndp imitate digits` learns: models, examples, loss, and how writing is judged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from configs import DigitsConfig
from ndp_jax import DMP, fit
from ndp_jax.export import save_writer
from ndp_jax.networks import CNN
from ndp_jax.writing import ParameterHead, PathHead, StrokeHead, Writer, integrate
from train.imitation import digits, smnist
from train.imitation.digit_figures import draw_digits
from train.imitation.digits import SIZE, STEPS, Digits
from train.imitation.learner import Loss, Material, Problem
from train.system.errors import UserError

MIDDLE = np.full(2, (SIZE - 1) / 2, np.float32)

RIDGE = 1e-5
"""Regularisation of the parameters that cnn-dmp learns: with less they scatter more from digit to
digit, with more they draw worse."""

JUDGED_AT_ONCE = 500


class Examples(struct.PyTreeNode):
    """Digits on the device.

    Attributes:
      image: ink in 256 levels, (N, 40, 40).
      path: strokes in pixels, (N, 301, 2).
      target: fitted parameters, (N, 2, P); None for those who learn from the stroke.
    """

    image: UInt8[Array, "N 40 40"]
    path: Float[Array, "N 301 2"]
    target: Float[Array, "N 2 P"] | None


def make_dmp(config: DigitsConfig) -> DMP:
    """The primitive of a configuration, one Euler step per sample."""
    pen = config.pen
    return DMP(
        n_basis=pen.n_basis,
        n_steps=STEPS,
        alpha=pen.alpha,
        alpha_x=pen.alpha_x,
        kernel=pen.kernel,
        forcing=pen.forcing,
    )


def make_writer(config: DigitsConfig) -> Writer:
    """The model of a configuration."""
    encoder = None if config.model.startswith("mlp") else CNN()
    if config.model == "cnn":
        head = PathHead(samples=STEPS + 1)
    elif config.model == "cnn-dmp":
        head = ParameterHead(dmp=make_dmp(config))
    else:
        head = StrokeHead(dmp=make_dmp(config))
    return Writer(head=head, encoder=encoder, hidden=config.hidden, method=config.pen.method)


def load(config: DigitsConfig) -> tuple[Digits, Digits]:
    """The digits to learn from, and the held-out ones.

    Raises:
      UserError: a file cannot be read, or has too few digits.
    """
    if not config.data:
        learned = digits.load(config.samples, split="train")
        return learned, digits.load(config.held_out, split="test")
    found = smnist.read(Path(config.data))
    count = len(found.images)
    if count < config.samples + config.held_out:
        raise UserError(
            f"{config.data} holds {count} digits, but --samples {config.samples} and --held-out "
            f"{config.held_out} need {config.samples + config.held_out}; lower either."
        )
    learned = Digits(*(array[: config.samples] for array in found))
    held_out = Digits(*(array[count - config.held_out :] for array in found))
    return learned, held_out


def fitted(
    config: DigitsConfig, paths: Float[Array | np.ndarray, "N 301 2"]
) -> Float[Array, "N 2 P"]:
    """`Written.parameters` of the primitives nearest to strokes."""
    shape = nearest(make_dmp(config), paths, regularization=RIDGE)
    if config.start == "given":
        return shape
    return jnp.concatenate([(paths[:, 0] - MIDDLE)[..., None], shape], axis=-1)


def nearest(
    dmp: DMP, paths: Float[Array | np.ndarray, "N 301 2"], *, regularization: float = 0.0
) -> Float[Array, "N 2 P"]:
    """Goals, as seen from the starts, and weights of the primitives nearest to strokes."""
    goal, weights = fit(dmp, paths, regularization=regularization)
    return jnp.concatenate([(goal - paths[:, 0])[..., None], weights], axis=-1)


def examples(config: DigitsConfig, learned: Digits) -> Examples:
    """Digits as the loss takes them."""
    return Examples(
        image=jnp.asarray(np.round(255 * learned.images), jnp.uint8),
        path=jnp.asarray(learned.paths),
        target=fitted(config, learned.paths) if config.model == "cnn-dmp" else None,
    )


def init(config: DigitsConfig, key: PRNGKeyArray, learned: Examples) -> PyTree:
    """The variables of a model that has seen nothing but the extent of what it is to learn."""
    first = learned.path[:1, 0] if config.start == "given" else None
    variables: Any = make_writer(config).init(key, jnp.zeros((1, SIZE, SIZE)), first)
    if learned.target is not None:
        deviation = jnp.std(learned.target, axis=0)
        mean = jnp.mean(learned.target, axis=0)
        variables = variables | {"fitted": {"head": {"mean": mean, "deviation": deviation}}}
    return variables


def shifted(config: DigitsConfig, batch: Examples, key: PRNGKeyArray) -> Examples:
    """Every digit moved by up to `config.shift` pixels in x and y, picture and stroke alike."""
    most = config.shift
    shift = jax.random.randint(key, (len(batch.image), 2), -most, most + 1)
    padded = jnp.pad(batch.image, ((0, 0), (most, most), (most, most)))

    def cut(image: UInt8[Array, "height width"], shift: Int[Array, "2"]) -> UInt8[Array, "40 40"]:
        return jax.lax.dynamic_slice(image, most - shift[::-1], (SIZE, SIZE))

    moved = shift.astype(batch.path.dtype)
    target = batch.target
    if target is not None and config.start == "predicted":
        target = target.at[..., 0].add(moved)
    return batch.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
        image=jax.vmap(cut)(padded, shift), path=batch.path + moved[:, None], target=target
    )


def make_loss(config: DigitsConfig) -> Loss:
    """Mean squared error of the stroke per coordinate, px^2; for cnn-dmp that of the parameters, in
    deviations from their means."""
    writer = make_writer(config)

    def loss(variables: PyTree, batch: Examples, key: PRNGKeyArray) -> Float[Array, ""]:
        batch = shifted(config, batch, key)
        written: Any = writer.apply(variables, *seen(config, batch))
        if batch.target is None:
            return jnp.mean(jnp.square(written.path - batch.path))
        deviation = variables["fitted"]["head"]["deviation"]
        return jnp.mean(jnp.square((written.parameters - batch.target) / deviation))

    return loss


def seen(
    config: DigitsConfig, batch: Examples
) -> tuple[Float[Array, "batch 40 40"], Float[Array, "batch 2"] | None]:
    """What the model is given."""
    start = batch.path[:, 0] if config.start == "given" else None
    return batch.image.astype(float) / 255, start


def make_write(config: DigitsConfig) -> Callable[[PyTree, Digits], Float[np.ndarray, "N 301 2"]]:
    """The strokes that a model writes for any number of digits."""
    writer = make_writer(config)

    @jax.jit
    def write(variables: PyTree, batch: Examples) -> Float[Array, "batch 301 2"]:
        written: Any = writer.apply(variables, *seen(config, batch))
        return written.path

    def write_all(variables: PyTree, wanted: Digits) -> Float[np.ndarray, "N 301 2"]:
        paths = []
        for first in range(0, len(wanted.images), JUDGED_AT_ONCE):
            some = Digits(*(array[first : first + JUDGED_AT_ONCE] for array in wanted))
            missing = min(JUDGED_AT_ONCE, len(wanted.images)) - len(some.images)
            padded = Digits(*(np.concatenate([a, a[:1].repeat(missing, 0)]) for a in some))
            plain = dataclasses.replace(config, model="cnn")
            batch = write(variables, examples(plain, padded))
            paths.append(np.asarray(batch)[: len(some.images)])
        return np.concatenate(paths)

    return write_all


def errors(
    written: Float[Array | np.ndarray, "#N 301 2"], paths: Float[Array | np.ndarray, "N 301 2"]
) -> Float[np.ndarray, " N"]:
    """Mean squared error of each stroke per coordinate, px^2."""
    return np.mean(np.square(np.asarray(written, float) - np.asarray(paths)), axis=(1, 2))


def baselines(config: DigitsConfig, learned: Digits, held_out: Digits) -> dict[str, float]:
    """Errors, px^2, of those who see no picture: `global_mean` writes the mean of all strokes,
    `class_mean` that of the digit it is told, and `floor` fits a primitive to the stroke itself.

    Nobody is told the digit where it is not known, or is none of those learned.
    """
    mean = np.broadcast_to(learned.paths.mean(axis=0), held_out.paths.shape)
    found = {"global_mean": errors(mean, held_out.paths)}
    labels: Int[np.ndarray, " N"] = np.asarray(held_out.labels)
    numbers, places = np.unique(labels, return_inverse=True)
    if labels.min() >= 0 and np.isin(numbers, learned.labels).all():
        means = np.stack([learned.paths[learned.labels == n].mean(axis=0) for n in numbers])
        found["class_mean"] = errors(means[places], held_out.paths)
    dmp, paths = make_dmp(config), jnp.asarray(held_out.paths)
    path = integrate(dmp, nearest(dmp, paths), paths[:, 0], middle=MIDDLE)
    found["floor"] = errors(np.asarray(path), held_out.paths)
    return {name: float(np.mean(values)) for name, values in found.items()}


def judge_paths(written: Float[np.ndarray, "N 301 2"], held_out: Digits) -> dict[str, float]:
    """`samples`, and their mean `error` and `worst` one, px^2 per coordinate."""
    every = errors(written, held_out.paths)
    return {"samples": len(every), "error": float(every.mean()), "worst": float(every.max())}


def problem(config: DigitsConfig) -> Problem:
    """What `train.imitation.train` needs to know of digits."""
    parameters = config.pen.n_basis + 2 - (config.start == "given")
    blank = Examples(
        image=jnp.zeros((1, SIZE, SIZE), jnp.uint8),
        path=jnp.zeros((1, STEPS + 1, 2)),
        target=jnp.zeros((1, 2, parameters)) if config.model == "cnn-dmp" else None,
    )

    def load_material() -> Material:
        learned, held_out = load(config)
        write = make_write(config)

        def error(variables: PyTree) -> float:
            return judge_paths(write(variables, held_out), held_out)["error"]

        def finish(variables: PyTree, folder: Path, *_: Any) -> tuple[dict[str, Any], str]:
            written = write(variables, held_out)
            draw_comparison(written, held_out, folder / "digits.png")
            found = judge_paths(written, held_out)
            return found | {"baselines": baselines(config, learned, held_out)}, sentence(found)

        return Material(
            examples=examples(config, learned),
            about=f"{len(learned.images):,} digits; {len(held_out.images):,} are held out",
            error=error,
            finish=finish,
        )

    return Problem(
        size=config.samples,
        init=lambda key, shown: init(config, key, shown),
        blank=blank,
        loss=make_loss(config),
        load=load_material,
    )


def judge(config: DigitsConfig, variables: PyTree) -> dict[str, Any]:
    """The evaluation of a model on the held-out digits."""
    learned, held_out = load(config)
    found = judge_paths(make_write(config)(variables, held_out), held_out)
    return found | {"baselines": baselines(config, learned, held_out)}


def sentence(summary: dict[str, Any]) -> str:
    """An evaluation for people."""
    return (
        f"Error {summary['error']:.3g} px^2 per coordinate, at worst {summary['worst']:.3g}, "
        f"{summary['samples']:.0f} held-out digits"
    )


def draw_comparison(
    written: Float[np.ndarray, "N 301 2"], held_out: Digits, path: Path, *, each: int = 4
) -> None:
    """A picture of held-out digits and how they were written: a column for each of 0 to 9."""
    labels = np.asarray(held_out.labels)
    by_digit = [np.flatnonzero(labels == number)[:each] for number in range(10)]
    if min(map(len, by_digit)) == each:
        shown = np.stack(by_digit, axis=1).ravel()
    else:
        shown = np.arange(min(10 * each, len(labels)))
    images, paths = np.asarray(held_out.images)[shown], np.asarray(held_out.paths)[shown]
    draw_digits(images, paths, written[shown], path=path)


def render(
    config: DigitsConfig, variables: PyTree, folder: Path, path: Path | None, **options: Any
) -> Path:
    """Writes digits.png, or another picture like it."""
    del options
    path = path or folder / "digits.png"
    held_out = load(config)[1]
    draw_comparison(make_write(config)(variables, held_out), held_out, path)
    return path


def export(config: DigitsConfig, variables: PyTree, folder: Path, path: Path) -> Path:
    """Writes a model to a file that `ndp_jax.load_writer` reads."""
    about = json.loads((folder / "config.json").read_text()) | {"image_size": SIZE}
    try:
        save_writer(path, make_writer(config), variables, about=about)
    except OSError as error:
        raise UserError(
            f"Cannot write the model to {path} ({error.strerror}); choose another --out."
        ) from None
    return path
