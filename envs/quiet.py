"""Silence while MJX is imported."""

import contextlib
import io
from contextlib import AbstractContextManager


def quietly() -> AbstractContextManager:
    """Keeps MJX from printing that it found no Warp, which it does not need."""
    return contextlib.redirect_stdout(io.StringIO())
