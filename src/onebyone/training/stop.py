"""Ending a training between two steps, when Ctrl-C or SIGTERM asks for it."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Say whether somebody has asked for the end.

    Attributes:
        signal: Number of the signal that asked; 0 if none did.
    """

    signal: int = 0


@contextmanager
def listening() -> Generator[Stop]:
    """Let the first Ctrl-C or SIGTERM ask for the end, and a second one end the program at once.

    In a thread that is not the main one, Python allows nobody to listen; nothing is changed there.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(number: int, _: FrameType | None) -> None:
        stop.signal = number
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
