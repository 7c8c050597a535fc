"""Designs mapped by this process, by others on this machine, or by tasks of Ray."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from mlcnn import tasks
from mlcnn.codesign.exploration.evaluation import Evaluation, Unfinished
from mlcnn.codesign.exploration.pricing import Network
from mlcnn.errors import InfeasibleError

__all__ = [
    "Finished",
    "Here",
    "Job",
    "OnRay",
    "Processes",
    "Workers",
    "finish",
    "require_ray",
]


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
        self._tasks = tasks.Processes(_in_time, network, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.__exit__()

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """See ``Workers``."""
        late = False
        for done in self._tasks.map([(job, deadline) for job in jobs]):
            if done is None:
                late = True  # the others may just have been in time
            else:
                yield done
        if late:
            raise Unfinished


def _in_time(network: Network, job: tuple[Job, float]) -> Finished | None:
    """In a process: what became of a design; None where its deadline is over."""
    try:
        return finish(network, *job)
    except Unfinished:
        return None


_WORDS = tasks.RayWords(
    "--engine ray", "or map in processes of this machine alone: --engine local --processes N"
)


def require_ray() -> None:
    """Look whether Ray is there, which takes no time.

    Raises:
        UnsupportedError: it is not installed.
    """
    tasks.require_ray(_WORDS)


class OnRay:
    """Maps in tasks of Ray, on this machine or on a cluster. See ``Workers``.

    Results go to the journal of this process alone, so they are those of local processes.

    Args:
        network: its layers.
        count: of processes on this machine, where no address is given.
        address: of a cluster that runs, as ``HOST:PORT``, or ``auto`` for the one that this machine
            is in.

    Raises:
        UnsupportedError: Ray is not installed.
    """

    def __init__(self, network: Network, count: int = 1, address: str | None = None) -> None:
        self._tasks = tasks.OnRay(_in_a_task, network, _WORDS, count=count, address=address)

    def __enter__(self) -> Self:
        """Connect, unless this process is connected.

        Raises:
            InputError: Ray cannot be reached.
        """
        self._tasks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.__exit__()

    def map(self, jobs: Sequence[Job], deadline: float) -> Iterator[Finished]:
        """See ``Workers``. The deadline is kept here: clocks of other machines may differ.

        Raises:
            Unfinished: the deadline is over.
            UnsupportedError: tasks die wherever they run, or Ray's machines have another mlcnn.
        """
        count = 0
        for done in self._tasks.map(jobs, deadline):
            count += 1
            yield done
        if count < len(jobs):
            raise Unfinished


def _in_a_task(network: Network, job: Job) -> Finished:
    return finish(network, job, math.inf)
