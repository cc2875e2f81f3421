"""Where the `ndp` command starts: here nothing is imported yet that another module can hide."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGES = ("train", "envs", "configs", "ndp_jax")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ndp`; returns its exit code, as `train.cli.main` has it."""
    problem = hidden()
    if problem:
        print(f"ndp: {problem}", file=sys.stderr)
        return 2
    from train.cli import main

    return main(arguments)


def hidden() -> str | None:
    """Says which of our packages Python would not find because of another's; None if it finds all.

    A name like `train` is also that of many a script.
    """
    for name in PACKAGES:
        ours = ROOT / name / "__init__.py"
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return f"The package {name} is missing in {ROOT}; install ndp-jax anew."
        found = Path(spec.origin).resolve()
        if found != ours:
            hiding = found.parent if found.name == "__init__.py" else found
            return (
                f"{hiding} hides our package {name}, because Python looks in {hiding.parent} "
                "first; rename or uninstall it, or take that folder out of PYTHONPATH, or, with "
                "`python -m ndp_jax`, start in another folder."
            )
    return None


if __name__ == "__main__":
    sys.exit(main())
