"""Command lines for people to paste."""

import shlex


def hint(*words: object) -> str:
    """`ndp` with these words, quoted where a shell would take them apart."""
    return shlex.join(["ndp", *map(str, words)])
