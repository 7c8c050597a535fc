"""Netron, the viewer of networks, where it is installed."""

import importlib
import os
import shlex
from pathlib import Path
from typing import Any

from mlcnn.errors import InputError

__all__ = ["netron_command", "require_netron", "show_in_netron"]


def require_netron(path: "str | os.PathLike[str]" = "FILE") -> Any:
    """Netron's module.

    Args:
        path: what is to be shown, for the message.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("netron")
    except ImportError:
        raise InputError(
            f"Netron is not installed, so {path} cannot be shown: run `pip install netron`, or "
            "open the file where there is one"
        ) from None


def show_in_netron(*paths: "str | os.PathLike[str]", wait: bool = False) -> None:
    """Open networks in Netron: it serves them on this machine alone and opens the browser.

    Args:
        paths: the files.
        wait: until it is interrupted; else it goes on beside the caller.

    Raises:
        InputError: Netron is not installed, or a file is missing.
    """
    netron: Any = None
    for path in paths:
        netron = require_netron(path)
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
    for path in paths:
        netron.start(str(path))
    if wait and netron is not None:
        netron.wait()


def netron_command(path: "str | os.PathLike[str]") -> str:
    """The command line that opens a file in Netron."""
    return shlex.join(["netron", "--browse", str(path)])
