"""A folder that is written whole or not at all, and never over what somebody else wrote."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mlcnn.errors import InputError

__all__ = ["MANIFEST", "check_folder", "whole_folder", "write_manifest"]

MANIFEST = "deployed.json"
"""Lists the files that ``deploy`` wrote, with their hashes."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but what ``deploy`` wrote there, as it wrote it.

    Raises:
        InputError: it holds something else, or cannot be made or written.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: a file stands where a folder is required")
    found = _foreign(folder) if folder.exists() else None
    if found is not None:
        raise InputError(
            f"{folder}: holds {found}, which is not as `mlcnn deploy` wrote it; give a new or an "
            "empty folder"
        )
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir():
        raise InputError(f"{folder}: {parent} is a file, and a folder is required")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{folder}: the folder {parent} is not writable")


def _foreign(folder: Path) -> str | None:
    """A file in a folder that is not as ``deploy`` wrote it; None where all are."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        known = dict(told["files"])
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            continue
        if name == MANIFEST and known:
            continue
        if path.is_symlink() or not path.is_file() or _hash(path) != known.get(name):
            return name
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, told: dict[str, object]) -> None:
    """Write the list of all files of a folder.

    Args:
        folder: the folder, complete.
        told: what else stands in the list.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): _hash(path) for path in files}
    text = json.dumps({**told, "files": hashes}, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path) -> Generator[Path]:
    """A new folder beside another, whose place it takes in the end, and only then.

    Raises:
        InputError: see ``check_folder``; or the disk is full.
    """
    check_folder(folder)
    target = folder.absolute()
    missing = [path for path in target.parents if not path.exists()]
    made: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        made.chmod(0o777 & ~_umask())
        yield made
        check_folder(folder)  # somebody may have written there meanwhile
        _take_place(made, target)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        if made is not None and made.exists():
            shutil.rmtree(made, ignore_errors=True)
        if not target.exists():
            for path in missing:
                if path.exists() and not any(path.iterdir()):
                    path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _take_place(made: Path, target: Path) -> None:
    """Rename a folder; what lies there, which ``deploy`` wrote, goes when the new one is there."""
    if not target.exists():
        made.rename(target)
        return
    before = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    target.rename(before)
    try:
        made.rename(target)
    except OSError:
        before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)
