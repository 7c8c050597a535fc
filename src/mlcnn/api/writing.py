"""Where results may be written, checked before the work begins."""

import os
from pathlib import Path

from mlcnn import graph
from mlcnn.errors import InputError

__all__ = ["check_directory", "check_output"]


def check_output(path: str | os.PathLike[str], source: object = None) -> Path:
    """The output path of a network, if it can be written.

    Args:
        path: where to write.
        source: what the network is loaded from; it is never overwritten.

    Raises:
        InputError: the path isn't an ``.onnx`` file that can be written.
    """
    checked = graph.check_output(Path(path))
    if checked.suffix != ".onnx":
        raise InputError(f"{path}: a network is written to an .onnx file; give it this suffix")
    if isinstance(source, str | os.PathLike) and checked.exists():
        original = Path(source)
        if original.exists() and original.samefile(checked):
            raise InputError(f"{path}: is the network that is read; give another output path")
    return checked


def check_directory(path: Path) -> Path:
    """A folder for results: it is made if it is missing.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: a file stands where a folder is required") from None
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: the folder is not writable")
    return path
