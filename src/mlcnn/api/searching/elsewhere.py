"""Networks of trials made by other processes: of this machine, or of a cluster by Ray.

A network travels as the bytes of its ``.onnx`` file, the images go to each process once, and a
trial is its text: what is made elsewhere is what would be made here with as many threads.
"""

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import onnx
import onnx_ir as ir
import torch

from mlcnn import tasks
from mlcnn.api.searching.options import RAY, CheapestOptions
from mlcnn.api.searching.trials import Here, Made, Trial, Workers, attempt
from mlcnn.api.stacking import Lab, Stack
from mlcnn.graph import to_proto
from mlcnn.training import set_threads
from mlcnn.training.intervals import Right

__all__ = ["workers"]

_Job = tuple[str, int]
"""The stack's text, and the images that each training sees."""


@contextmanager
def workers(options: CheapestOptions, lab: Lab, folder: Path) -> Generator[Workers]:
    """What makes networks of trials as the options say.

    Args:
        options: with which workers, how many, and how many threads each has.
        lab: the original and the images. Processes of Ray may run on another processor: forms are
            chosen by an estimate there, and not by measured time.
        folder: where prefixes are kept, which local processes share; it exists.

    Raises:
        InputError: Ray cannot be reached.
        UnsupportedError: Ray is not installed.
    """
    cores = torch.get_num_threads()
    threads = options.torch_threads or max(1, cores // options.processes)
    data = replace(lab.data, test=lab.data.test.first(1))  # it decides nothing
    lab_there = replace(lab, data=data)
    if options.workers == "ray":
        about = _About(replace(lab_there, engine=None), None, threads)
        with tasks.OnRay(
            _make, about, RAY, count=options.processes, address=options.address, threads=threads
        ) as ray:
            yield _Elsewhere(ray)
    elif options.processes > 1:
        with tasks.Processes(
            _make, _About(lab_there, folder.resolve(), threads), options.processes
        ) as processes:
            yield _Elsewhere(processes)
    else:
        yield Here(lab, folder)


@dataclass(frozen=True, slots=True)
class _About:
    """What all trials are about.

    Attributes:
        lab: the original, and images.
        folder: where prefixes are kept; None for one that is gone after each trial.
        threads: of torch.
    """

    lab: Lab
    folder: Path | None
    threads: int

    def __reduce__(self) -> tuple[Any, ...]:
        lab = self.lab
        parts = (lab.data, lab.normal, lab.options, lab.teaching, lab.engine)
        return _about, (_bytes(lab.original), parts, self.folder, self.threads)


@dataclass(frozen=True, slots=True)
class _Sent:
    """See ``Made``: the network as bytes."""

    key: str
    model: bytes | None
    right: Right
    why: str
    seconds: float


class _Tasks(Protocol):
    """Processes, or tasks of Ray."""

    def map(self, jobs: Sequence[_Job]) -> Iterator[_Sent]:
        """Do jobs, in whatever order they are finished."""
        ...


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """Makes networks in other processes. See ``Workers``."""

    tasks: _Tasks

    def map(self, trials: Sequence[Trial]) -> Iterator[Made]:
        """See ``Workers``."""
        for one in self.tasks.map([(trial.stack.text, trial.images) for trial in trials]):
            model = None if one.model is None else _model(one.model)
            yield Made(one.key, model, one.right, one.why, one.seconds)


def _make(about: _About, job: _Job) -> _Sent:
    """In another process: see ``attempt``."""
    set_threads(about.threads)
    text, images = job
    trial = Trial(Stack.parse(text), images)
    if about.folder is not None:
        made = attempt(about.lab, trial, about.folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            made = attempt(about.lab, trial, Path(name))
    model = None if made.model is None else _bytes(made.model)
    return _Sent(made.key, model, made.right, made.why, made.seconds)


def _about(original: bytes, parts: tuple[Any, ...], folder: Path | None, threads: int) -> _About:
    return _About(Lab(_model(original), *parts), folder, threads)


def _bytes(model: ir.Model) -> bytes:
    return to_proto(model).SerializeToString(deterministic=True)


def _model(text: bytes) -> ir.Model:
    """As it was, not normalised as what comes from a user is."""
    return ir.from_proto(onnx.ModelProto.FromString(text))
