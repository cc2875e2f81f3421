"""How many environments one program may step."""

from importlib.metadata import version

from envs.outside import is_outside, load

_JACO_TASKS = ("throw", "pick")
_LARGEST_BATCH = 128


def largest_batch(task: str) -> int | None:
    """The largest safe number of environments of `task` in one program; None if any is.

    On the CPU, jaxlib before 0.11 may wait for ever in a program with 256 Jaco scenes.
    """
    old = tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 11)
    if not old or not (task in _JACO_TASKS or _is_jaco(task)):
        return None
    import jax

    return _LARGEST_BATCH if jax.default_backend() == "cpu" else None


def _is_jaco(task: str) -> bool:
    """Of a task that is not ours; for the others names suffice, as they import nothing."""
    if not is_outside(task):
        return False
    from envs.jaco import Jaco

    found = load(task)
    return isinstance(found, type) and issubclass(found, Jaco)


def check_batch(task: str, num_envs: int) -> None:
    """Raises `ValueError` where so many environments of `task` may hang."""
    limit = largest_batch(task)
    if limit and num_envs > limit:
        raise ValueError(
            f"{num_envs} environments of {task} may hang with jaxlib {version('jaxlib')} on the "
            f"CPU; use at most {limit}, or Python 3.12 or newer, whose jaxlib does not."
        )
