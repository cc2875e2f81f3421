"""Ways to step a model: a module for each, which loads on first use."""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco

    from envs.physics.data import Physics

IMPLS = ("auto", "jax", "c", "warp")


def resolve(impl: str, *, threads: int | None = None) -> str:
    """The implementation that `impl`, one of `IMPLS`, means here.

    Raises `ValueError` for one that is unknown or cannot be had, and for `threads` that it cannot
    use.
    """
    if impl not in IMPLS:
        raise ValueError(f"There is no impl {impl!r}; use 'auto', 'jax', 'c' or 'warp'.")
    if impl == "auto":
        impl = "c" if _device() == "cpu" else "jax"
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1.")
    if threads is not None and impl != "c":
        raise ValueError(f"threads is {threads}, but impl={impl!r} has none of its own; use 'c'.")
    if impl == "c" and _device() != "cpu":
        raise ValueError(
            f"impl='c' needs the CPU, but JAX computes on {_device()}; use impl='jax' or set "
            "JAX_PLATFORMS=cpu."
        )
    if impl == "warp":
        _require_warp()
    return impl


def describe(impl: str, *, threads: int | None = None) -> str:
    """A resolved `impl` for people, and what computes it."""
    if impl == "c":
        count = threads or _share()
        return f"C MuJoCo on {count} thread{'s' * (count > 1)}"
    import jax

    return f"{'MuJoCo Warp' if impl == 'warp' else 'MJX'} on {jax.devices()[0].device_kind}"


def make(
    impl: str, model: "mujoco.MjModel", *, substeps: int, threads: int | None = None
) -> "Physics":
    """`substeps` time steps of `model` with a resolved `impl`; `threads` as in `envs.make`."""
    module = importlib.import_module(f"envs.physics.{impl}")
    options = {"threads": threads or _share()} if impl == "c" else {}
    return module.make(model, substeps=substeps, **options)


def _share() -> int:
    """The cores that this process may use, for each of its devices."""
    import jax

    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // len(jax.local_devices(backend="cpu")))


def _device() -> str:
    import jax

    return jax.default_backend()


def _require_warp() -> None:
    """Raises `ValueError` where MJX cannot step with Warp."""
    import jax
    from mujoco.mjx import warp

    if not warp.WARP_INSTALLED:
        raise ValueError(
            "impl='warp' needs the package warp-lang, which is not installed or cannot be loaded; "
            "run `pip install 'mujoco-mjx[warp]'` or use impl='jax'."
        )
    if jax.default_backend() != "cpu" and not _on_cuda():
        kind = jax.devices()[0].device_kind
        raise ValueError(
            f"impl='warp' needs a CUDA GPU or the CPU, but JAX computes on {kind}; use impl='jax'."
        )


def _on_cuda() -> bool:
    import jax

    try:
        return jax.devices()[0] in jax.devices("cuda")
    except RuntimeError:
        return False
