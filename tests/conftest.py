"""Checks every annotated call (set up before any test imports us) and keeps compiled programs."""

import os
from pathlib import Path

import jax
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float
install_import_hook(["ndp_jax", "train", "envs"], f"{__name__}.checked")

if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(caches / "ndp-jax" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
