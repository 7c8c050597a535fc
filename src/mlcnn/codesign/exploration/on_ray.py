"""Designs mapped by tasks of Ray, on this machine or on a cluster: the extra ``mlcnn[ray]``.

A task knows nothing but what it is given: the network, which is put into Ray's store once, and a
block of designs. One whose process or machine dies is begun again elsewhere. Results go to the
journal of this process alone, so they are those of local processes.
"""

import importlib
import importlib.util
import math
import os
import pickle
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

from mlcnn.codesign.exploration.evaluation import Unfinished
from mlcnn.codesign.exploration.pricing import Network
from mlcnn.codesign.exploration.workers import Finished, Job, finish
from mlcnn.errors import InputError, UnsupportedError

__all__ = ["OnRay", "blocks", "require_ray"]

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
_INSTEAD = "or map in processes of this machine alone: --engine local --processes N"


def _version() -> str:
    """Of mlcnn in this process; a name for it here would be an import of all that is above."""
    return importlib.import_module("mlcnn").__version__


def require_ray() -> None:
    """Look whether Ray is there, which takes no time.

    Raises:
        UnsupportedError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UnsupportedError(
            '--engine ray: the package ray is not installed; run pip install "mlcnn[ray]", '
            f"{_INSTEAD}"
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


class OnRay:
    """Maps in tasks of Ray. See ``Workers``.

    Args:
        network: its layers.
        count: of processes on this machine, where no address is given.
        address: of a cluster that runs, as ``HOST:PORT``, or ``auto`` for the one that this machine
            is in.

    Raises:
        UnsupportedError: Ray is not installed.
    """

    def __init__(
        self,
        network: Network,
        count: int = 1,
        address: str | None = None,
    ) -> None:
        require_ray()
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self._ray = importlib.import_module("ray")
        self._network, self._count, self._address = network, count, address
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
        self._task = self._ray.remote(_block).options(max_retries=_RETRIES)
        self._given = self._ray.put(pickle.dumps(self._network))
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine:
            self._ray.shutdown()

    def _connect(self) -> None:
        here = {} if self._address else {"num_cpus": self._count, "include_dashboard": False}
        try:
            _answers(self._address)
            self._ray.init(
                address=self._address or "local", log_to_driver=False, logging_level="error", **here
            )
        except Exception as error:  # what Ray raises is of many kinds
            at = f"at {self._address}" if self._address else "on this machine"
            raise InputError(
                f"--engine ray: Ray cannot be reached {at} ({_first(error)}); give --address a "
                f"cluster that runs, as ray start --head prints it, {_INSTEAD}"
            ) from error

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """See ``Workers``. The deadline is kept here: clocks of other machines may differ.

        Raises:
            Unfinished: the deadline is over.
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
                if left <= 0 and not done and waiting:
                    raise Unfinished
        finally:
            for one in waiting:
                self._ray.cancel(one, force=True)

    def _results(self, reference: Any) -> list[Finished]:
        try:
            found: list[Finished] | str = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error):
                raise _other("none, or one without this") from error
            raise
        except self._ray.exceptions.RayError as error:
            raise UnsupportedError(
                f"--engine ray: a task was lost {_RETRIES + 1} times ({type(error).__name__}: "
                f"{_first(error)}); see that a process has memory enough, {_INSTEAD}; what is in "
                "the journal stays"
            ) from error
        if isinstance(found, str):
            raise _other(found)
        return found


def _first(error: Exception) -> str:
    """The first sentence of an error."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


def _other(version: str) -> UnsupportedError:
    mine = _version()
    return UnsupportedError(
        f"--engine ray: mlcnn {mine} is required on every machine of the cluster, and one has "
        f'{version}; install the same there: pip install "mlcnn[ray]=={mine}"'
    )


def _answers(address: str | None) -> None:
    """Look whether anything listens at HOST:PORT: Ray itself waits for minutes, and then exits.

    Raises:
        OSError: nothing does.
    """
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _CONNECT_S).close()


def _block(version: str, network: bytes, block: bytes) -> list[Finished] | str:
    """In a task: what became of some designs, or which version is there where it is another."""
    mine = _version()
    if version != mine:
        return mine
    try:
        known: Network = pickle.loads(network)  # noqa: S301 - of the process that began the task
        jobs: Sequence[Job] = pickle.loads(block)  # noqa: S301
    except (AttributeError, ImportError, TypeError):
        return f"{mine} with other files"
    return [finish(known, job, math.inf) for job in jobs]
