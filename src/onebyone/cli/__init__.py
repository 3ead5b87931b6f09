"""The command `onebyone`: one file a subcommand.

The modules here import nothing heavy: a command imports what it needs when it runs. So help, the
version and an answer to a wrong argument come at once.
"""

import sys

INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended: 128 + SIGINT."""


def main() -> None:
    """Run the program and end it: status 0 for success, 2 and one line for a wrong use."""
    try:
        from onebyone.cli.program import run_program

        status = run_program(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


__all__ = ["main"]
