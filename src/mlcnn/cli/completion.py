"""``mlcnn completion``: the script that completes commands and options in a shell.

It is written once and answers without starting Python.
"""

from typing import Literal

from cyclopts import App

from mlcnn.cli.output import print_text

__all__ = ["CompletingApp", "completion"]

Shell = Literal["bash", "zsh", "fish"]


class CompletingApp(App):
    """An application whose script for bash completes files where it knows nothing better."""

    def generate_completion(
        self,
        *,
        prog_name: str | None = None,
        shell: Literal["zsh", "bash", "fish", "powershell"] | None = None,
    ) -> str:
        """The script; see ``cyclopts.App``."""
        script = super().generate_completion(prog_name=prog_name, shell=shell)
        return script.replace("\ncomplete -F ", "\ncomplete -o default -F ")


def completion(shell: Shell, /) -> None:
    """Print the script that completes commands and options in a shell.

    `mlcnn --install-completion` writes it where the shell looks for it.

    Args:
        shell: bash, zsh or fish.
    """
    from mlcnn.cli.app import app  # noqa: PLC0415 - this module is loaded by that one

    print_text(app.generate_completion(shell=shell))
