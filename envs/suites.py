"""Environments of others by names like `brax/reacher` and `playground/CartpoleBalance`."""

import contextlib
import difflib
import functools
import importlib
import io
import subprocess
import warnings
from collections.abc import Collection
from importlib.metadata import version
from typing import Any

SUITES = ("brax", "playground")


def is_of_suite(name: str) -> bool:
    """Whether it has the form of such a name."""
    suite, _, inside = name.partition("/")
    return suite in SUITES and inside.isidentifier()


@functools.cache
def load_of_suite(task: str, *, impl: str = "auto") -> Any:
    """The environment of such a name, as its suite makes it.

    Args:
      task: its name.
      impl: of the physics: "auto" or "jax"; for Playground "warp", too.

    Raises:
      ValueError: there is none, or something that it needs is missing here.
    """
    suite, _, name = task.partition("/")
    if impl not in ("auto", "jax", *(("warp",) if suite == "playground" else ())):
        raise ValueError(f"{task} is not computed by --impl {impl}; leave that out.")
    return brax(name) if suite == "brax" else playground(name, "jax" if impl == "auto" else impl)


def brax(name: str) -> Any:
    """One of brax's, on the backend that is its default."""
    known = importlib.import_module("brax.envs")
    check_known("brax", name, known._envs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Brax System")  # are no longer maintained, they say
        return known.get_environment(name)


def playground(name: str, impl: str) -> Any:
    """One of MuJoCo Playground's."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            registry = importlib.import_module("mujoco_playground").registry
    except ModuleNotFoundError as error:
        raise ValueError(
            f"playground/{name} needs the package {error.name}; run "
            "`pip install 'ndp-jax[playground]'`."
        ) from None
    check_known("playground", name, registry.ALL_ENVS)
    overrides = {"impl": impl} if "impl" in registry.get_default_config(name) else {}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return registry.load(name, config_overrides=overrides)
    except (OSError, subprocess.CalledProcessError) as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise ValueError(
            f"playground/{name} needs the models of mujoco_menagerie, which Playground fetches "
            f"with git when they are first used; that failed here ({what})."
        ) from None
    except Exception as error:  # of a Playground and a MuJoCo that do not fit
        what = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise ValueError(
            f"Playground cannot make {name} with MuJoCo {version('mujoco')} ({what}); choose "
            "another environment."
        ) from error


def check_known(suite: str, name: str, known: Collection[str]) -> None:
    """Raises `ValueError` for an environment that a suite does not have."""
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"There is no {suite}/{name}; did you mean {suite}/{nearest}?")
