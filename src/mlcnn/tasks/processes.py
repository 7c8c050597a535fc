"""Jobs done by processes on this machine, which are told once what the jobs are about."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

__all__ = ["Processes"]

_WATCH_S = 1.0

Given = TypeVar("Given")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes(Generic[Given, Job, Result]):
    """Does jobs in processes of its own. One that dies is no loss but of what it was at.

    Args:
        do: what a job is done with: a function of a module, the same for the same job.
        given: what all jobs are about; it goes to each process once.
        count: of processes.
    """

    def __init__(self, do: Callable[[Given, Job], Result], given: Given, count: int) -> None:
        self._do, self._given, self._count = do, given, count
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        told = (self._do, self._given, os.getpid())
        return ProcessPoolExecutor(self._count, multiprocessing.get_context("spawn"), _begin, told)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        processes = list(self._pool._processes.values())  # pyright: ignore[reportPrivateUsage] - nothing public ends them
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def map(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Do jobs, in whatever order they are finished.

        Raises:
            Exception: what a job raises.
        """
        left = dict(enumerate(jobs))
        tries = 0
        while left:
            try:
                for number, result in self._each(left):
                    del left[number]
                    yield result
            except BrokenProcessPool:
                tries += 1
                if tries > len(jobs):
                    raise
                self._stop()
                self._pool = self._started()

    def _each(self, jobs: dict[int, Job]) -> Iterator[tuple[int, Result]]:
        with _uninterrupted():
            numbers: dict[Future[Any], int] = {
                self._pool.submit(_in_process, job): number for number, job in jobs.items()
            }
        waiting = set(numbers)
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    yield numbers[one], one.result()
        finally:  # whoever asked has gone
            for one in waiting:
                one.cancel()


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Processes that are begun here never notice an interruption, not even while they load."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_about: list[tuple[Callable[[Any, Any], Any], Any]] = []
"""In a process of a pool: what its jobs are done with, and are about."""


def _begin(do: Callable[[Any, Any], Any], given: object, parent: int) -> None:
    _about[:] = [(do, given)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End with the parent, even if that was killed and could tell nobody."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _in_process(job: object) -> Any:
    do, given = _about[0]
    return do(given, job)
