"""A program for `run_tasks` to run: python -m tests.studies.child WHAT [FILE]."""

import os
import signal
import sys
import time
from pathlib import Path

from onebyone.studies.processes import end_with_parent


def main(what: str, *places: str) -> None:
    """Do what the tests ask a child to do."""
    if what == "write":
        Path(places[0]).write_text(os.environ["OMP_NUM_THREADS"])
    elif what == "fail":
        print("a warning\nthe disk is full", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    elif what == "mute":
        sys.exit(3)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "wait":
        end_with_parent()
        Path(places[0]).write_text(str(os.getpid()))
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
