"""What the process needs before JAX and MuJoCo are imported or used."""

import io
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from envs.importing import importing_mjx
from train.system.errors import UserError

PACKAGES = ("ndp-jax", "jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx")

NARROWEST = 20
"""Columns that help and tables are laid out for at least."""

SHAPING = {"JAX_ENABLE_X64": "0", "JAX_DEFAULT_PRNG_IMPL": "threefry2x32"}
"""Settings of the process that decide what a state looks like, and what JAX has by default."""

DRAWING = {"JAX_THREEFRY_PARTITIONABLE": "1", "JAX_RANDOM_SEED_OFFSET": "0"}
"""Those that decide no more than which random numbers are drawn."""


def prepare() -> None:
    """Sets what must be set before MuJoCo is imported and JAX is used, and imports both."""
    configure_jax()
    with importing_mjx():
        import mujoco.mjx  # noqa: F401


def configure_jax() -> None:
    """Full float32 matrix products and a compilation cache that outlives the process.

    What the environment says of either stays. TF32, the default on recent GPUs, keeps 10 bits of
    mantissa; MJX's solver diverges on it.
    """
    import jax

    if not jax.config.jax_default_matmul_precision:
        jax.config.update("jax_default_matmul_precision", "highest")
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def find_device() -> None:
    """Lets JAX look for its devices, so that it fails now where it cannot find them."""
    import jax

    jax.devices()


@contextmanager
def device_explained() -> Iterator[None]:
    """Turns the lack of a device that JAX shall compute on into a sentence.

    Raises:
      UserError: there is none.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        asserted = traceback.extract_tb(error.__traceback__)[-1].name == "backends"
        if not asserted and "Unable to initialize backend" not in str(error):
            raise
        wanted = os.environ.get("JAX_PLATFORMS")
        named = f"JAX_PLATFORMS is {wanted}, and " if wanted else ""
        why = str(error).split(" (")[0].rstrip(".")
        raise UserError(
            f"{named}JAX finds no such device here{f' ({why})' if why else ''}; set "
            "JAX_PLATFORMS=cpu, or unset it to take the best device there is."
        ) from None


def prepare_terminal() -> None:
    """Lets what is printed fit into any terminal or file.

    Characters that it lacks are shown by their numbers, and in one too narrow for the help, with
    which tyro would not come to an end, lines are wrapped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)


def cache_folder() -> Path:
    """The project's folder in the user's cache, which XDG_CACHE_HOME moves.

    Without a home that can be written it is one of the user's own among the temporary files.

    Raises:
      UserError: that belongs to somebody else.
    """
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "ndp-jax"
    try:
        cache = Path.home() / ".cache"
        nearest = next(place for place in (cache, *cache.parents) if place.exists())
        if os.access(nearest, os.W_OK | os.X_OK):
            return cache / "ndp-jax"
    except (RuntimeError, OSError):  # an unknown user, or a home that is out of bounds
        pass
    folder = Path(tempfile.gettempdir()) / f"ndp-jax-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user; set XDG_CACHE_HOME.")
    return folder


def drawn_folder(kind: str) -> Path:
    """The cached files of a kind that random numbers made, apart for each `process_settings`."""
    defaults, settings = SHAPING | DRAWING, process_settings()
    others = [f"{name}={value}" for name, value in settings.items() if value != defaults[name]]
    return cache_folder().joinpath(kind, *others)


def process_settings() -> dict[str, str]:
    """`SHAPING` and `DRAWING` as this process has them, as the environment would say it."""
    import jax

    values = {name: getattr(jax.config, name.lower()) for name in SHAPING | DRAWING}
    return {
        name: f"{value:d}" if type(value) is bool else f"{value}" for name, value in values.items()
    }


def check_process(made_with: dict[str, str], what: str) -> None:
    """Raises `UserError` where this process cannot go on with what was made with other `SHAPING`.

    Args:
      made_with: `versions` as they were; what they do not say is taken to be as it is now.
      what: was made.
    """
    for name, now in process_settings().items():
        then = made_with.get(name, now)
        if name in SHAPING and then != now:
            raise UserError(
                f"{what} was made with {name}={then}, but this process has {now}; set "
                f"{name}={then}."
            )


def versions() -> dict[str, str]:
    """What decides a run's numbers beside its settings: packages, device, precision and
    `process_settings`."""
    import jax

    found = {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}
    precision = jax.config.jax_default_matmul_precision or "default"
    device = {"device": jax.devices()[0].device_kind, "matmul_precision": precision}
    return found | device | process_settings()
