"""The `ndp` command. Heavy imports come only after the arguments have been understood."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from rich.console import Console

from train.commands.parsing import parse
from train.system import runtime
from train.system.errors import Interrupted, Stopped, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ndp`.

    Returns:
      Exit code: 0; 1 if the work cannot go on; 2 for a mistake of the user; 130 or 143 after an
      interruption.
    """
    runtime.prepare_terminal()
    console = Console(highlight=False, markup=False)
    arguments = sys.argv[1:] if arguments is None else arguments
    if [*arguments] == ["--version"]:
        print(f"ndp-jax {version('ndp-jax')}")
        return 0
    try:
        command = parse(arguments)
        with runtime.device_explained():
            command.check()
            runtime.prepare()
            if command.computes and not command.joins:
                runtime.find_device()
            command.execute(console)
    except UserError as error:
        print(f"ndp: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"ndp: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        console.print(str(stop), soft_wrap=True)
        return 128 + stop.signal
    except BrokenPipeError:  # the reader of `ndp ... | head` has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(
            f"ndp: {error.filename or 'A file'} cannot be used ({error.strerror}).", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
