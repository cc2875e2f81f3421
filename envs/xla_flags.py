"""A work-around for one compiler fault; see `repair_cpu_compiler`."""

import os
from importlib.metadata import version

FLAG = "--xla_cpu_use_fusion_emitters"


def repair_cpu_compiler() -> None:
    """Turns off the CPU fusion emitters of jaxlib before 0.11.

    With them `mjx.step` of a robot arm runs about 2000 times too slowly on the CPU. Newer versions
    do not need the flag and abort on it, other devices ignore it, and a user's own setting stays.
    It takes effect if no JAX computation has run yet.
    """
    major, minor = (int(part) for part in version("jaxlib").split(".")[:2])
    flags = os.environ.get("XLA_FLAGS", "")
    if (major, minor) < (0, 11) and FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=false".strip()
