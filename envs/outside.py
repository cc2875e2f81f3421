"""What others wrote, by names like `package.module:NAME`."""

import importlib.util
import os
import sys
from typing import Any


def is_outside(name: str) -> bool:
    """Whether it has the form of such a name."""
    module, _, inside = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), inside))


def short(name: str) -> str:
    """A name as folders and legends show it: what stands behind the module or the suite."""
    return name.rpartition(":")[2].rpartition("/")[2]


def load(name: str) -> Any:
    """What a module, also one in the current folder, has under a name.

    Raises:
      ValueError: there is no such module, or nothing of that name in it.
    """
    module, _, inside = name.partition(":")
    if not importlib.util.find_spec(module.partition(".")[0]):
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"There is no module '{error.name}' for {name}; go to the folder that it is in, or put "
            "that into PYTHONPATH."
        ) from None
    if not hasattr(found, inside):
        raise ValueError(f"There is no '{inside}' in the module of {name}.")
    return getattr(found, inside)
