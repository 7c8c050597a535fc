"""The command line: one thin file for each command over `mlcnn.api`.

This file imports next to nothing: an interruption must find it ready, not half-way through the
imports of the rest.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code of an interrupted command."""


def _interrupt(signum: int, frame: object) -> None:
    """End at once while modules load: nothing is begun, and libraries do not bear an exception."""
    del signum, frame
    # A module's `__all__` here comes after all its imports.
    if hasattr(sys.modules.get("mlcnn.api"), "__all__"):
        raise KeyboardInterrupt
    try:
        os.write(2, b"mlcnn: interrupted\n")
    finally:
        os._exit(INTERRUPTED)


def _replace_handler(expected: object, handler: object) -> None:
    """Set the handler of interruptions where it is the expected one.

    What ignores them, as a job in the background does, goes on doing so; and only the main thread
    may set it.
    """
    if signal.getsignal(signal.SIGINT) is expected:
        try:
            signal.signal(signal.SIGINT, handler)  # pyright: ignore[reportArgumentType]
        except ValueError:
            return


def _application() -> ModuleType:
    """What does the work; where it cannot be imported, the command ends in one line."""
    try:
        return importlib.import_module("mlcnn.cli.app")
    except ImportError as error:
        told = " ".join(f"the installation is broken: {error}; install mlcnn again".split())
        os.write(2, f"mlcnn: error: {told}\n".encode())
        raise SystemExit(1) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command and its options; the process's own by default.

    Returns:
        The exit code.
    """
    _replace_handler(signal.default_int_handler, _interrupt)
    try:
        return _application().main(arguments)
    finally:
        _replace_handler(_interrupt, signal.default_int_handler)
