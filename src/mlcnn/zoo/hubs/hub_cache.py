"""Files of the Hugging Face hub, by its own library: from the network or from its cache."""

import contextlib
import logging
import posixpath
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcnn.errors import InputError, did_you_mean
from mlcnn.graph.wording import quote
from mlcnn.zoo.hubs.source import imported

__all__ = ["Repository", "cache_folder", "open_repository", "place_of"]

_PACKAGE, _EXTRA = "huggingface_hub", "pip install 'mlcnn[hf]'"
_MAIN = "main"
_SECONDS = 20.0


def cache_folder() -> Path:
    """Where the hub's library keeps files."""
    try:
        return Path(imported(f"{_PACKAGE}.constants", "").HF_HUB_CACHE)
    except InputError:
        return Path("~/.cache/huggingface/hub")


def place_of(repository: str) -> str:
    """How the files of a repository come to a machine without network: a part of a message."""
    return (
        f"where there is a network, run `hf download {repository}`, and copy its folder "
        f"models--{repository.replace('/', '--')} into {cache_folder()}"
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub at a revision.

    Attributes:
        text: what messages begin with.
        name: ORG/NAME.
        revision: branch, tag or commit; None for the usual one.
        files: the paths of its files.
        is_local: whether these are those of the cache, as the hub cannot be reached.
    """

    text: str
    name: str
    revision: str | None
    files: tuple[str, ...]
    is_local: bool

    def fetch(self, path: str) -> Path:
        """A file of it on this machine.

        Raises:
            InputError: it is not there, may not be read, or the hub cannot be reached any more.
        """
        self.require_file(path)
        hub: Any = imported(_PACKAGE, self.text, _EXTRA)
        try:
            with _reaching(self.text, self.name, self.revision):
                return Path(
                    hub.hf_hub_download(
                        self.name, path, revision=self.revision, local_files_only=self.is_local
                    )
                )
        except _UnreachableError as error:
            raise _unreachable(self.text, self.name, f"{path} of {self.name}", error) from error

    def fetch_beside(self, path: str, locations: set[str]) -> None:
        """Fetch the files that an ONNX file refers to; what is not there is found out later."""
        for location in sorted(locations):
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), location))
            if beside in self.files:
                self.fetch(beside)

    def require_file(self, path: str) -> None:
        """Refuse a path that is not there.

        Raises:
            InputError: the message has the nearest.
        """
        if path not in self.files:
            where = " in the cache" if self.is_local else ""
            near = did_you_mean(path, self.files, ", ")
            raise InputError(f"{self.text}: {self.name} has no file {path!r}{where}{near}")


def open_repository(text: str, name: str, revision: str | None = None) -> Repository:
    """A repository, as the hub has it, or, where that cannot be reached, as the cache has it.

    Args:
        text: what messages begin with.
        name: ORG/NAME.
        revision: branch, tag or commit.

    Raises:
        InputError: there is no such repository or revision, or it may not be read; the hub cannot
            be reached, and the cache has nothing of it; the hub's library is missing.
    """
    hub: Any = imported(_PACKAGE, text, _EXTRA)
    try:
        with _reaching(text, name, revision):
            info = hub.HfApi().model_info(name, revision=revision, timeout=_SECONDS)
        files = tuple(sorted(item.rfilename for item in info.siblings or ()))
        return Repository(text, name, revision, files, is_local=False)
    except _UnreachableError as error:
        cached = _cached(hub, name, revision or _MAIN)
        if not cached:
            raise _unreachable(text, name, name, error) from error
        return Repository(text, name, revision, cached, is_local=True)


class _UnreachableError(Exception):
    """There is no way to the hub."""


@contextlib.contextmanager
def _reaching(text: str, name: str, revision: str | None) -> Generator[None]:
    """The hub's errors as messages, and its warnings of attempts not shown.

    Raises:
        _UnreachableError: there is no way to the hub.
    """
    errors: Any = imported(f"{_PACKAGE}.errors", text, _EXTRA)
    logger = logging.getLogger(_PACKAGE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except errors.HFValidationError as error:
        raise InputError(
            f"{text}: hf:ORG/NAME, perhaps with @REVISION and :PATH, is required ({quote(error)})"
        ) from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{text}: {name} is gated: ask for access on its page, then log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{text}: {name} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{text}: the hub has no repository {name}, or it is private: check the name, or log "
            "in with `hf auth login`"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise _UnreachableError("HF_HUB_OFFLINE is set") from error
    except Exception as error:  # of the library's client for HTTP, whichever that is
        raise _UnreachableError(quote(error.__cause__ or error)) from error
    finally:
        logger.setLevel(level)


def _cached(hub: Any, name: str, revision: str) -> tuple[str, ...]:
    try:
        found = hub.scan_cache_dir(cache_folder()).repos
    except hub.CacheNotFound:
        return ()
    for repo in found:
        if repo.repo_id != name or repo.repo_type != "model":
            continue
        for item in repo.revisions:
            if revision in item.refs or item.commit_hash == revision:
                paths = (file.file_path for file in item.files)
                return tuple(sorted(p.relative_to(item.snapshot_path).as_posix() for p in paths))
    return ()


def _unreachable(text: str, name: str, what: str, error: Exception) -> InputError:
    return InputError(
        f"{text}: {what} is not in the cache, and the hub cannot be reached ({error}); "
        f"{place_of(name)}"
    )
