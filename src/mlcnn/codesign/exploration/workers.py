"""Designs mapped by processes on this machine, or by this one."""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from mlcnn.codesign.exploration.evaluation import Evaluation, Unfinished
from mlcnn.codesign.exploration.pricing import Network
from mlcnn.errors import InfeasibleError

__all__ = ["Finished", "Here", "Job", "Processes", "Workers", "finish"]

_WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A design to map.

    Attributes:
        number: by which it is known to whoever asks.
        architecture: the machine.
        like: what the network comes to on designs alike.
    """

    number: int
    architecture: Any
    like: tuple[Evaluation, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of it.

    Attributes:
        number: of the job.
        found: what the network comes to; None where a layer fits in no way.
        why: the reason then.
        seconds: of processor time.
    """

    number: int
    found: Evaluation | None
    why: str
    seconds: float


class Workers(Protocol):
    """What maps designs."""

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """Map designs, in whatever order they are finished.

        Args:
            jobs: the designs.
            deadline: by ``time.time()``; infinite for none.

        Raises:
            Unfinished: the deadline is over.
        """
        ...


class Here:
    """Maps in this process, one design after the other.

    Args:
        network: its layers.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """See ``Workers``."""
        for job in jobs:
            yield finish(self._network, job, deadline)


def finish(network: Network, job: Job, deadline: float) -> Finished:
    """Map a network on one design.

    Args:
        network: it.
        job: the design.
        deadline: by ``time.time()``; infinite for none.

    Raises:
        Unfinished: the deadline is over.
    """
    begun = time.process_time()
    try:
        found = network.price(
            job.architecture,
            like=job.like,
            seconds=lambda: math.inf if math.isinf(deadline) else deadline - time.time(),
        )
    except InfeasibleError as error:
        return Finished(job.number, None, str(error), time.process_time() - begun)
    return Finished(job.number, found, "", time.process_time() - begun)


class Processes:
    """Maps in processes of its own. A process that dies is no loss but of what it was at.

    Args:
        network: its layers.
        count: of processes.
    """

    def __init__(self, network: Network, count: int) -> None:
        self._network, self._count = network, count
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._count, multiprocessing.get_context("spawn"), _begin, (self._network, os.getpid())
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace
        self._stop()

    def _stop(self) -> None:
        processes = list(self._pool._processes.values())  # pyright: ignore[reportPrivateUsage] - nothing public ends them
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """See ``Workers``."""
        left = {job.number: job for job in jobs}
        tries = 0
        while left:
            try:
                for done in self._each(list(left.values()), deadline):
                    del left[done.number]
                    yield done
            except BrokenProcessPool:
                tries += 1
                if tries > len(jobs):
                    raise
                self._stop()
                self._pool = self._started()

    def _each(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        waiting: set[Future[Finished]] = {
            self._pool.submit(_in_process, job, deadline) for job in jobs
        }
        late: Unfinished | None = None
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                try:
                    yield one.result()
                except Unfinished as error:
                    late = error  # the others may just have been in time
        if late is not None:
            raise late


_given: list[Network] = []
"""In a process of a pool: what its jobs are about."""


def _begin(network: Network, parent: int) -> None:
    _given[:] = [network]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End with the parent, even if that was killed and could tell nobody."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _in_process(job: Job, deadline: float) -> Finished:
    return finish(_given[0], job, deadline)
