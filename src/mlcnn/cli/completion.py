"""``mlcnn completion``: the script that completes commands and options in a shell.

It is written once and answers without starting Python.
"""

import importlib
from typing import Literal

from cyclopts import App
from cyclopts.completion import ShellDetectionError

from mlcnn.cli.output import print_text
from mlcnn.errors import InputError

__all__ = ["completion", "install"]

Shell = Literal["bash", "zsh", "fish"]


def _with_files(script: str) -> str:
    """A script that completes files, in bash too, where it knows nothing better."""
    return script.replace("\ncomplete -F ", "\ncomplete -o default -F ")


def completion(shell: Shell, /) -> None:
    """Print the script that completes commands and options in a shell.

    `mlcnn --install-completion` writes it where the shell looks for it.

    Args:
        shell: bash, zsh or fish.
    """
    print_text(_with_files(_app().generate_completion(shell=shell)))


def install(*, shell: Shell | None = None) -> None:
    """Write the script where the shell looks for it, and a line into its start file if it has to.

    Args:
        shell: bash, zsh or fish; the one in use by default.
    """
    try:
        path = _app().install_completion(shell=shell)
        path.write_text(_with_files(path.read_text(encoding="utf-8")), encoding="utf-8")
    except ShellDetectionError as error:
        raise InputError(
            "--install-completion: which shell this is cannot be told; give it, as --shell bash"
        ) from error
    except OSError as error:
        raise InputError(f"--install-completion: {error}") from error
    print_text(f"written: {path}; start the shell again\n")


def _app() -> App:
    """The command line, which loads this module and not the other way round."""
    return importlib.import_module("mlcnn.cli.app").app
