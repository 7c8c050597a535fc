"""The journal of a long search: an SQLite file with one row a finished try.

A row is written before its result is shown, so what was shown is never lost. What a run is of
stands in the journal, too: another network, version or seed does not go on in it.
"""

import contextlib
import fcntl
import json
import os
import socket
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Self

from mlcnn.errors import InputError

__all__ = ["Journal"]

_TABLES = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    number INTEGER PRIMARY KEY, tried TEXT NOT NULL UNIQUE, result TEXT NOT NULL, seconds REAL
);
"""
_TOLD = "network_name"
"""Of a run, what is only told to whoever finds the journal in use."""


class Journal:
    """A journal, or a place in memory where no file is asked for.

    Args:
        path: of the file; None for memory.
        run: what the run is of: what must be the same, in the order in which differences are
            told; and ``network_name``, which is told to whoever finds the journal in use.
        work: what the run is called.
        given: the option that says where it is, and what that names.
        fresh: begin a new one, whatever is in the file.

    Raises:
        InputError: it is that of another run, or in use, or cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        run: Mapping[str, object],
        *,
        work: str = "exploration",
        given: tuple[str, str] = ("--journal", "file"),
        fresh: bool = False,
    ) -> None:
        self.path = path
        self._option, kind = given
        self._another = f"give {self._option} another {kind}"
        self._open = contextlib.ExitStack()
        if path is not None:
            self._open.enter_context(_locked(path, run, work, given))
        try:
            with self._writing():
                if fresh and path is not None:
                    for name in (path, _beside(path, "-wal"), _beside(path, "-shm")):
                        name.unlink(missing_ok=True)
                self._connection = sqlite3.connect(":memory:" if path is None else path)
                self._open.enter_context(contextlib.closing(self._connection))
                if path is not None:
                    self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.executescript(_TABLES)
                self._check(run)
                with self._connection:  # a file that may only be read is noticed now, not later
                    self._connection.execute("DELETE FROM results WHERE FALSE")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._open.close()

    def _check(self, run: Mapping[str, object]) -> None:
        known = dict(self._connection.execute("SELECT key, value FROM run"))
        wanted = {key: json.dumps(value) for key, value in run.items() if key != _TOLD}
        if not known:
            rows = list(wanted.items())
            with self._connection:
                self._connection.executemany("INSERT INTO run VALUES (?, ?)", rows)
            return
        other = [key for key in {**wanted, **known} if known.get(key) != wanted.get(key)]
        if other:
            told = "; ".join(
                f"{key} is {known.get(key, 'missing')} there and {wanted.get(key, 'missing')} here"
                for key in other
            )
            raise InputError(
                f"journal {self.path} is of another run: {told}; {self._another}, or "
                "--fresh to begin this one anew"
            )

    def known(self) -> dict[str, dict[str, Any] | None]:
        """The results so far by what was tried; None where it came to nothing."""
        with self._writing():
            rows = self._connection.execute("SELECT tried, result FROM results ORDER BY number")
            return {tried: json.loads(result) for tried, result in rows}

    def seconds(self) -> float:
        """That all tries took together."""
        with self._writing():
            rows = list(self._connection.execute("SELECT total(seconds) FROM results"))
            return float(rows[0][0])

    def add(
        self, number: int, tried: str, result: Mapping[str, Any] | None, seconds: float
    ) -> None:
        """Write a finished try.

        Args:
            number: in the order in which tries were chosen.
            tried: what was tried, as text.
            result: what it came to; None for nothing.
            seconds: that it took.

        Raises:
            InputError: the file cannot be written.
        """
        row = (number, tried, json.dumps(result), seconds)
        with self._writing(), self._connection:
            self._connection.execute("INSERT INTO results VALUES (?, ?, ?, ?)", row)

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            text = str(error)
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in text:
                raise InputError(
                    f"journal {self.path}: it is no journal ({text}); {self._another}, or "
                    "--fresh to write over it"
                ) from error
            raise _unwritable(self.path, text, self._option) from error


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _locked(path: Path, run: Mapping[str, object], work: str, given: tuple[str, str]) -> FileIO:
    """The file beside a journal that says who writes it, held as long as it is open.

    The operating system lets go of it when the process ends, however that ends.

    Raises:
        InputError: somebody else holds it, or it cannot be written.
    """
    option, kind = given
    try:
        file = _beside(path, ".lock").open("ab+", buffering=0)
    except OSError as error:
        raise InputError(
            f"journal {path}: it cannot be written ({error.strerror}); give --journal a place that "
            "can be"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = " ".join(file.read().decode(errors="replace").split()) or f"another {work}"
        file.close()
        raise InputError(
            f"journal {path} is in use by {holder}; wait for it, end it, or give {option} another "
            f"{kind}"
        ) from None
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    text = (
        f"the {work} of {run.get(_TOLD, 'a network')} by process {os.getpid()} on "
        f"{socket.gethostname()}, begun {started}"
    )
    try:
        file.truncate(0)
        file.write(text.encode())
    except OSError as error:
        file.close()
        raise _unwritable(path, error.strerror, option) from error
    return file


def _unwritable(path: Path | None, why: str | None, option: str) -> InputError:
    return InputError(
        f"journal {path}: it cannot be written ({why}); make room or give {option} "
        "another place; what is in it stays, and the same command goes on from there"
    )
