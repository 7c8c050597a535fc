"""What an engine is: it prepares a network once and then runs it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.workload import Numbers

__all__ = [
    "Array",
    "Arrays",
    "Device",
    "Engine",
    "LayerAlgorithm",
    "Session",
    "Telling",
    "device_of",
    "positive_threads",
]

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


class Device(StrEnum):
    """Where a network runs."""

    CPU = "cpu"
    CUDA = "cuda"


@runtime_checkable
class Session(Protocol):
    """A network, ready to run."""

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once.

        Args:
            inputs: an array for each input of the network, by name.

        Returns:
            The outputs by name.

        Raises:
            InputError: a missing or unknown input, a wrong type or shape.
            UnsupportedError: the engine cannot run the network on these inputs.
        """
        ...

    def runner(self, inputs: Arrays) -> Callable[[], object]:
        """A callable that runs on always the same inputs and does as little else as possible.

        It is for timing: it ends when the result is there, and what it returns is the engine's.
        It may read ``inputs`` in place: don't change them.
        """
        ...


@dataclass(frozen=True, slots=True)
class LayerAlgorithm:
    """How an engine computes one layer, and why.

    Attributes:
        layer: its name.
        geometry: what it computes, in one line.
        algorithm: name of the algorithm.
        reason: the figures behind the choice.
        ms: time of one run, measured where ``measured``, estimated otherwise.
        measured: whether it was measured.
        peak_share: useful multiply-adds a second over what the core can do in registers; above 1
            where an algorithm needs fewer products.
        bound: what takes longest: multiply-adds, weights from memory, or transforms.
        bits: of its weights and inputs, as they are in the network.
        times_ms: by each algorithm that was asked about.
        coded: whether it is computed in codes; else in floats.
        told: of a layer between quantisers whether few bits pay there, or why they, or its codes,
            are declined; else empty.
    """

    layer: str
    geometry: str
    algorithm: str
    reason: str
    ms: float
    measured: bool
    peak_share: float
    bound: str
    bits: Numbers = field(default_factory=Numbers)
    times_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    coded: bool = False
    told: str = ""

    def to_json(self) -> dict[str, object]:
        """A row of ``algorithms`` in what ``mlcnn bench --json`` prints."""
        return asdict(self)


@runtime_checkable
class Telling(Protocol):
    """A session that can tell how it computes."""

    @property
    def algorithms(self) -> tuple[LayerAlgorithm, ...]:
        """How each convolution was computed in the last run for new shapes."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of that, each in one line."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Runs networks. Implementations are frozen dataclasses; fields are options."""

    @property
    def name(self) -> str:
        """Name that ``get`` knows."""
        ...

    def prepare(self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU) -> Session:
        """Make a network ready to run.

        Args:
            model: the network, with or without ``mlcnn`` functions; never changed.
            threads: threads that the engine may compute with.
            device: ``cpu``, or ``cuda`` where there is one.

        Raises:
            InputError: an unknown device, one that this machine lacks, or threads below 1.
            UnsupportedError: the engine refuses the network.
        """
        ...


def device_of(text: str) -> Device:
    """The device of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return Device(text)
    except ValueError:
        known = ", ".join(Device)
        raise InputError(f"unknown device {text!r}; known devices: {known}") from None


def positive_threads(threads: int) -> int:
    """``threads``, if an engine can compute with so many.

    Raises:
        InputError: fewer than one.
    """
    if threads < 1:
        raise InputError(f"threads must be 1 or more, got {threads}")
    return threads
