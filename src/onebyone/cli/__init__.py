"""The command `onebyone`: one file a subcommand.

The modules here import nothing heavy: a command imports what it needs when it runs. So help, the
version and an answer to a wrong argument come at once.
"""

import sys

from onebyone.cli.status import INTERRUPTED, WRONG_USE
from onebyone.errors import MissingPackageError
from onebyone.packages import EXTRAS, require


def main() -> None:
    """Run the program and end it: status 0 for success, 2 and one line for a wrong use."""
    try:
        require("the command `onebyone`", *EXTRAS["cli"])
        from onebyone.cli.program import run_program

        status = run_program(sys.argv[1:])
    except MissingPackageError as missing:  # what shows errors is not there either
        print(f"onebyone: {missing}", file=sys.stderr)  # noqa: T201
        status = WRONG_USE
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


__all__ = ["main"]
