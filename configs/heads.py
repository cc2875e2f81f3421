"""Policy heads, by their names on the command line.

    smooth = Head(make=make_smooth, color="#cc79a7")

in a file smooth.py makes `--policy smooth:smooth` one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tyro

from configs.registry import Registry
from envs.outside import load


@dataclass(frozen=True)
class Head:
    """How a policy's head is made, and what has to be known of it before.

    Attributes:
      make: from an environment and a configuration, whose swept numbers may be known only when a
        compiled function runs, to a Flax module like `ndp_jax.policies.DirectHead`; or where that
        function is, `package.module:NAME`, if it takes a second to import.
      settings: which of those that some heads ignore mean something to it: `chunk`, without which
        it is asked at every step, and sections like `primitive`.
      ignores: settings of those sections that do not.
      about: it, for the help.
      color: in plots.
    """

    make: Callable[[Any, Any], Any] | str
    settings: tuple[str, ...] = ("chunk",)
    ignores: tuple[str, ...] = ()
    about: str = ""
    color: str = "#cc79a7"


def from_outside(name: str) -> Head:
    """Somebody's head.

    Raises:
      ValueError: there is none.
    """
    found = load(name)
    if not isinstance(found, Head):
        raise ValueError(f"{name} is no policy; name a configs.Head.")
    return found


HEADS = Registry(
    {
        "ndp": Head(
            "ndp_jax.heads:primitive",
            settings=("chunk", "explore", "primitive"),
            about="T actions through the primitive",
            color="#0072b2",
        ),
        "prodmp": Head(
            "ndp_jax.heads:prodmp",
            settings=("chunk", "explore", "primitive"),
            ignores=("forcing", "method"),
            about="the primitive's forcing unscaled, solved in closed form",
            color="#56b4e9",
        ),
        "ppo-multi": Head(
            "ndp_jax.heads:direct",
            settings=("chunk", "explore"),
            about="T actions directly",
            color="#d55e00",
        ),
        "ppo": Head("ndp_jax.heads:direct", settings=(), about="one action", color="#009e73"),
    },
    from_outside,
)
"""Of `ndp train`; colours are Okabe and Ito's."""

CLONED = Registry({"ndp": HEADS["ndp"], "nn": HEADS["ppo-multi"]}, from_outside)
"""Of `ndp imitate TASK`."""


def policy_option(heads: Registry[Head]) -> object:
    """--policy, which names one of them."""
    words = [f"{name}: {head.about}" for name, head in heads.items()]
    return tyro.conf.arg(
        metavar=f"{{{','.join(heads)}}}|MODULE:HEAD",
        help=f"{'; '.join(words)}; or a configs.Head of your own.",
    )
