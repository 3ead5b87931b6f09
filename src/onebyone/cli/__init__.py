"""The command `onebyone`: one file a subcommand."""

from onebyone.cli.main import main

__all__ = ["main"]
