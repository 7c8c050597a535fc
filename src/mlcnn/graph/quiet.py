"""Keeping the messages of a foreign library from the terminal, for one thread."""

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Generator
from typing import TextIO

__all__ = ["quiet"]


class _Muted(io.TextIOBase):
    """Passes on what other threads write, and drops what its own thread does."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._owner = threading.get_ident()

    def write(self, text: str, /) -> int:
        if threading.get_ident() == self._owner:
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


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
        contextlib.redirect_stdout(_Muted(sys.stdout)),
        contextlib.redirect_stderr(_Muted(sys.stderr)),
    ):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
