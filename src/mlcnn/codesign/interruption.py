"""Whether the user interrupts while somebody else takes the interruption."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interruptions"]


@contextmanager
def interruptions() -> Generator[Callable[[], bool]]:
    """Notice interruptions, and pass them on to what handled them before.

    A search that is interrupted returns the best that it has, so that whoever called it does not
    see that it was: several searches in turn ask here whether to begin the next one.

    Yields:
        What says whether there was one. Never, outside the main thread.
    """
    noticed: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        noticed.append(number)
        if callable(before):
            before(number, frame)

    try:
        signal.signal(signal.SIGINT, notice)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(noticed)
    finally:
        signal.signal(signal.SIGINT, before)
