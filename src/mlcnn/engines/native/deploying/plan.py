"""What a deployed network consists of: steps, constants, and the memory that they need."""

import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.engines.arrays import fixed_shapes, signatures
from mlcnn.engines.engine import Arrays, LayerAlgorithm
from mlcnn.engines.native.engine import Native
from mlcnn.engines.native.library import Library, Step
from mlcnn.engines.native.program import Floats, Program
from mlcnn.engines.native.reading import MAP_RANK
from mlcnn.errors import UnsupportedError

__all__ = ["Buffer", "Plan", "plan"]

_CACHE_LINE = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """An input or output of a network, as a caller hands it over.

    Attributes:
        name: in the network.
        shape: its sizes, all known.
        dtype: of its elements in the network; the kernels take and give float32.
        flags: whether it is a mask of positions, a byte each.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    flags: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """A network for one batch size and one kind of processor, and what runs it here.

    Attributes:
        program: its steps, constants and memory.
        inputs: what it reads, in order.
        outputs: what it writes, in order.
        march: the processor that it is for, as gcc names it.
        threads: that the algorithms were chosen for.
        algorithms: of the convolutions.
        notes: what makes it slower than it could be.
        session: runs it with the engine ``native``.
    """

    program: Program
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    march: str
    threads: int
    algorithms: tuple[LayerAlgorithm, ...]
    notes: tuple[str, ...]
    session: "Running"

    @property
    def library(self) -> Library:
        """The kernels that the plan was made for."""
        return self.program.library

    @property
    def constants(self) -> Floats:
        """Weights, and what else the steps read, in the order of the kernels."""
        return self.program.constants

    @property
    def steps(self) -> tuple[Step, ...]:
        """The calls of kernels, in their order."""
        return tuple(self.program.steps)

    @property
    def room_bytes(self) -> int:
        """Bytes that each thread needs while a kernel runs, in whole cache lines."""
        most = max((self.library.room(step, self.constants) for step in self.steps), default=0)
        return -(-most // _CACHE_LINE) * _CACHE_LINE

    @property
    def context_bytes(self) -> int:
        """Bytes of one context, as ``network.c`` counts them: itself, the threads', the values."""
        values = 4 * self.program.memory.size
        return _CACHE_LINE - 1 + _CACHE_LINE + self.threads * self.room_bytes + values

    @property
    def stamp(self) -> str:
        """A text of 16 digits that no other plan has."""
        digest = hashlib.sha256(
            ctypes.string_at(self.program.steps, ctypes.sizeof(self.program.steps))
        )
        digest.update(self.constants.tobytes())
        told = (self.inputs, self.outputs, self.program.memory.size, self.march, self.threads)
        digest.update(repr(told).encode())
        return digest.hexdigest()[:16]


class Running:
    """The same network in the engine ``native``."""

    def __init__(self, model: ir.Model, engine: Native, threads: int) -> None:
        """Prepare a network."""
        self.session = engine.prepare(model, threads=threads)

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        return self.session.run(inputs)


def plan(
    model: ir.Model, *, march: str = "native", algorithm: str | None = None, batch: int = 1,
    threads: int = 1,
) -> Plan:  # fmt: skip
    """Make a network ready to be written as C.

    Args:
        model: the network.
        march: the processor, as gcc names it; one that this machine can run.
        algorithm: see ``Native``; by measured time by default.
        batch: images of a run.
        threads: of a run.

    Raises:
        InputError: a batch that the network does not take, or an algorithm that does not exist.
        UnsupportedError: an operator that the kernels lack; it names the node.
    """
    shapes = fixed_shapes(model, batch)
    engine = Native(march) if algorithm is None else Native(march, algorithm)
    running = Running(model, engine, threads)
    inputs = tuple(_input(s.name, shapes[s.name], s.dtype) for s in signatures(model))
    calls = running.session.calls(tuple(buffer.shape for buffer in inputs))
    program = calls.program
    if not len(program.steps):
        raise UnsupportedError("deploy: this network computes nothing from its inputs")
    return Plan(
        program, inputs, _outputs(model, calls.outputs), march, threads,
        running.session.algorithms, running.session.notes, running,
    )  # fmt: skip


def _input(name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Buffer:
    return Buffer(name, shape, dtype, flags=dtype == np.bool_ and len(shape) == MAP_RANK)


def _outputs(model: ir.Model, shapes: Sequence[tuple[int, ...]]) -> tuple[Buffer, ...]:
    return tuple(
        Buffer(
            value.name or "", shape,
            np.dtype(np.float32) if value.dtype is None else value.dtype.numpy(),
        )
        for value, shape in zip(model.graph.outputs, shapes, strict=True)
    )  # fmt: skip
