"""Where foreign code writes while it runs for one thread; other threads are not affected."""

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Generator
from typing import TextIO

__all__ = ["quiet", "to_stderr"]


class _Diverted(io.TextIOBase):
    """Passes on what other threads write; what its own thread writes goes to ``target``."""

    def __init__(self, stream: TextIO, target: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._target = target
        self._owner = threading.get_ident()

    def write(self, text: str, /) -> int:
        is_own = threading.get_ident() == self._owner
        stream = self._target if is_own else self._stream
        return len(text) if stream is None else stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def to_stderr() -> Generator[None]:
    """Let what a user's code prints go to standard error: standard output is for results."""
    with contextlib.redirect_stdout(_Diverted(sys.stdout, sys.stderr)):
        yield


@contextlib.contextmanager
def quiet(logger_name: str) -> Generator[None]:
    """Silence a library that writes to the terminal, warns and logs.

    Args:
        logger_name: the library's logger.
    """
    logger = logging.getLogger(logger_name)
    level = logger.level
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(_Diverted(sys.stdout, None)),
        contextlib.redirect_stderr(_Diverted(sys.stderr, None)),
    ):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
