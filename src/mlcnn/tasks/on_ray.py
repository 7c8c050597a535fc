"""Jobs done by tasks of Ray, on this machine or on a cluster: the extra ``mlcnn[ray]``.

A task knows nothing but what it is given: what all jobs are about, which is put into Ray's store
once and read once in each of its processes, and a block of jobs. One whose process or machine dies
is begun again elsewhere.
"""

import hashlib
import importlib
import importlib.util
import math
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from mlcnn.errors import InputError, UnsupportedError

__all__ = ["OnRay", "RayWords", "Timed", "blocks", "require_ray"]

_BLOCK_S = 1.0
"""Of work in a task: what handing it over costs, some milliseconds, is little then."""
_RETRIES = 20
"""Of a task whose process died. What kills every process, as too little memory, is told then."""
_LOOK_S = 1.0
_CONNECT_S = 5.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # it would install the package anew for every process
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Read by Ray when it is imported."""


class Timed(Protocol):
    """What becomes of a job, and the time that it took."""

    @property
    def seconds(self) -> float:
        """That it took."""
        ...


Given = TypeVar("Given")
Job = TypeVar("Job")
Result = TypeVar("Result", bound=Timed)


@dataclass(frozen=True, slots=True)
class RayWords:
    """How messages speak of Ray.

    Attributes:
        option: what asks for it.
        instead: what to do without it.
    """

    option: str
    instead: str


def _version() -> str:
    """Of mlcnn in this process; a name for it here would be an import of all that is above."""
    return importlib.import_module("mlcnn").__version__


def require_ray(words: RayWords) -> None:
    """Look whether Ray is there, which takes no time.

    Raises:
        UnsupportedError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UnsupportedError(
            f'{words.option}: the package ray is not installed; run pip install "mlcnn[ray]", '
            f"{words.instead}"
        )


def blocks(jobs: Sequence[Job], seconds: float) -> list[Sequence[Job]]:
    """Jobs for one task each: as many tasks as have a second of work.

    Args:
        jobs: all.
        seconds: what one probably takes; infinite while nothing is known.
    """
    count = len(jobs) if math.isinf(seconds) else int(len(jobs) * seconds / _BLOCK_S)
    count = max(1, min(count, len(jobs)))
    return [jobs[number::count] for number in range(count)]


class OnRay(Generic[Given, Job, Result]):
    """Does jobs in tasks of Ray.

    Args:
        do: what a job is done with: a function of a module, the same for the same job.
        given: what all jobs are about.
        words: how messages speak of Ray.
        count: of processes on this machine, where no address is given.
        address: of a cluster that runs, as ``HOST:PORT``, or ``auto`` for the one that this machine
            is in.
        threads: that a task computes with.

    Raises:
        UnsupportedError: Ray is not installed.
    """

    def __init__(
        self,
        do: Callable[[Given, Job], Result],
        given: Given,
        words: RayWords,
        *,
        count: int = 1,
        address: str | None = None,
        threads: int = 1,
    ) -> None:
        require_ray(words)
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self._ray = importlib.import_module("ray")
        self._about, self._words = (do, given), words
        self._count, self._address, self._threads = count, address, threads
        self._mine = False
        self._seconds: list[float] = []

    def __enter__(self) -> Self:
        """Connect, unless this process is connected.

        Raises:
            InputError: Ray cannot be reached.
        """
        if not self._ray.is_initialized():
            self._connect()
            self._mine = True
        self._task = self._ray.remote(_block).options(max_retries=_RETRIES, num_cpus=self._threads)
        self._given = self._ray.put(pickle.dumps(self._about))
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine:
            self._ray.shutdown()

    def _connect(self) -> None:
        cores = self._count * self._threads
        here = {} if self._address else {"num_cpus": cores, "include_dashboard": False}
        try:
            _answers(self._address)
            self._ray.init(
                address=self._address or "local", log_to_driver=False, logging_level="error", **here
            )
        except Exception as error:  # what Ray raises is of many kinds
            at = f"at {self._address}" if self._address else "on this machine"
            raise InputError(
                f"{self._words.option}: Ray cannot be reached {at} ({_first(error)}); give "
                f"--address a cluster that runs, as ray start --head prints it, "
                f"{self._words.instead}"
            ) from error

    def map(self, jobs: Sequence[Job], deadline: float = math.inf) -> Iterator[Result]:
        """Do jobs, in whatever order they are finished, until the deadline.

        It is kept here: clocks of other machines may differ.

        Args:
            jobs: all; those that are not finished at the deadline come to nothing.
            deadline: by ``time.time()``; infinite for none.

        Raises:
            UnsupportedError: tasks die wherever they run, or Ray's machines have another mlcnn.
        """
        taken = self._seconds
        expected = sum(taken) / len(taken) if taken else math.inf
        waiting = [
            self._task.remote(_version(), self._given, pickle.dumps(block))
            for block in blocks(jobs, expected)
        ]
        try:
            while waiting:
                left = deadline - time.time()
                done, waiting = self._ray.wait(waiting, timeout=max(0.0, min(left, _LOOK_S)))
                for one in done:
                    for finished in self._results(one):
                        taken.append(finished.seconds)
                        yield finished
                if left <= 0 and not done:
                    return
        finally:
            for one in waiting:
                self._ray.cancel(one, force=True)

    def _results(self, reference: Any) -> list[Result]:
        try:
            found: list[Result] | str = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error):
                raise self._other("none, or one without this") from error
            raise
        except self._ray.exceptions.RayError as error:
            raise UnsupportedError(
                f"{self._words.option}: a task was lost {_RETRIES + 1} times "
                f"({type(error).__name__}: {_first(error)}); see that a process has memory enough, "
                f"{self._words.instead}; what is in the journal stays"
            ) from error
        if isinstance(found, str):
            raise self._other(found)
        return found

    def _other(self, version: str) -> UnsupportedError:
        mine = _version()
        return UnsupportedError(
            f"{self._words.option}: mlcnn {mine} is required on every machine of the cluster, and "
            f'one has {version}; install the same there: pip install "mlcnn[ray]=={mine}"'
        )


def _first(error: Exception) -> str:
    """The first sentence of an error."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


def _answers(address: str | None) -> None:
    """Look whether anything listens at HOST:PORT: Ray itself waits for minutes, and then exits.

    Raises:
        OSError: nothing does.
    """
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _CONNECT_S).close()


_read: dict[bytes, tuple[Callable[[Any, Any], Any], Any]] = {}
"""In a process of Ray: what its last jobs were done with, and were about, by its digest."""


def _block(version: str, about: bytes, block: bytes) -> list[Any] | str:
    """In a task: what became of some jobs, or which version is there where it is another."""
    mine = _version()
    if version != mine:
        return mine
    digest = hashlib.sha256(about).digest()
    try:
        if digest not in _read:
            _read.clear()
            _read[digest] = pickle.loads(about)  # noqa: S301 - of the process that began the task
        jobs: Sequence[Any] = pickle.loads(block)  # noqa: S301
    except (AttributeError, ImportError, TypeError):
        return f"{mine} with other files"
    do, given = _read[digest]
    return [do(given, job) for job in jobs]
