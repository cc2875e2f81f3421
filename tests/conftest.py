"""Checks every annotated call (set up before any test imports us) and keeps compiled programs."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

beartyped = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def checked(function):
    """All but constructors: JAX also builds our pytrees around shapes and other non-arrays."""
    return function if function.__name__ == "__init__" else beartyped(function)


install_import_hook(["ndp_jax", "train", "envs"], f"{__name__}.checked")


def pytest_configure() -> None:
    from train import runtime

    runtime.configure_jax()
