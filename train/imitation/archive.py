"""Arrays in an .npz file that is whole or absent."""

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from train.system.errors import UserError

UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError)
UNREADABLE += (zipfile.BadZipFile, zlib.error, tokenize.TokenError)
"""What NumPy raises of damaged files."""


def write(
    file: Path, arrays: Mapping[str, np.ndarray], *, remedy: str, compressed: bool = False
) -> None:
    """Writes a file whole or not at all.

    Args:
      file: where to; its folder is made.
      arrays: by their names in the file.
      remedy: what else than making room helps where the file cannot be written.
      compressed: smaller, and slower to write.

    Raises:
      UserError: the file cannot be written.
    """
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            save: Any = np.savez_compressed if compressed else np.savez
            save(stream, **arrays)
        partial.replace(file)
    except OSError as error:
        raise UserError(f"Cannot write {file} ({error}); make room there or {remedy}.") from None
    finally:
        with suppress(OSError):
            partial.unlink()
