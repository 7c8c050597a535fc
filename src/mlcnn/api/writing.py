"""Where results may be written, checked before the work begins."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlcnn import graph
from mlcnn.errors import InputError

__all__ = ["check_output", "no_room", "results_folder", "resumable"]

_NO_ROOM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
}


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


@contextmanager
def results_folder(path: Path) -> Generator[Path]:
    """A folder for results: made if it is missing, and gone again if nothing came of the work.

    Raises:
        InputError: it cannot be made or written.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: a file stands where a folder is required") from None
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: the folder is not writable")
    try:
        yield path
    except BaseException:  # an interruption, too
        for folder in missing:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


@contextmanager
def resumable(path: Path) -> Generator[None]:
    """Work of which all results so far are in a folder, whatever ends it.

    Raises:
        InputError: there is no more room, or no right to write.
    """
    try:
        yield
    except (OSError, InputError) as error:
        cause = no_room(error)
        if cause is not None:
            raise InputError(
                f"{path}: it cannot be written ({cause.strerror}); make room or give -o another "
                "place; what is in it stays, and the same command goes on from there"
            ) from error
        raise


def no_room(error: BaseException) -> OSError | None:
    """What the system said where a file could not be written; None for any other error."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause if isinstance(cause, OSError) and cause.errno in _NO_ROOM else None
