"""The command line: one thin file for each command over `mlcnn.api`."""

from mlcnn.cli.app import main

__all__ = ["main"]
