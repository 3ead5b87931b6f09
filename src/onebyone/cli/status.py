"""How the program ends, as the number that it leaves behind."""

FAILURE = 1
"""It could not be done, and nobody asked for anything wrong."""

WRONG_USE = 2
"""Exit status for a bad name, file or value."""

INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended: 128 + SIGINT."""
