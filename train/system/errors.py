"""How a command ends other than by finishing."""


class UserError(Exception):
    """A mistake of the user: one clear sentence that names the value and the fix; exit code 2."""


class Stopped(Exception):
    """The work cannot go on: one sentence that says why, and what was saved; exit code 1."""


class Diverged(Stopped):
    """Nothing but non-finite numbers comes out of a run any more."""


class Interrupted(Exception):
    """A signal ended the work early, after everything done so far was saved; exit code 128 + n."""

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
