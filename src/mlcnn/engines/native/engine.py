"""Engine ``native``: our own kernels, compiled for this machine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.arrays import Signature, check_inputs, fix_shapes, signatures
from mlcnn.engines.engine import (
    Array,
    Arrays,
    Device,
    LayerAlgorithm,
    device_of,
    positive_threads,
)
from mlcnn.engines.native.algorithms import MEASURED, Chooser, Choosing
from mlcnn.engines.native.batches import apart
from mlcnn.engines.native.branches import flattened
from mlcnn.engines.native.calls import Calls
from mlcnn.engines.native.library import BEST_COUNTS, Library, Op, load
from mlcnn.engines.native.lowering import check, lower, suited
from mlcnn.engines.native.machine import machine_of
from mlcnn.engines.native.mended import mended
from mlcnn.engines.native.program import Floats, Operation, Program
from mlcnn.engines.native.reading import MAP_RANK
from mlcnn.engines.native.shared import staged
from mlcnn.engines.package import weight_bytes
from mlcnn.errors import InputError, PassError, UnsupportedError
from mlcnn.graph import fold_constants, infer_shapes, inline, pad_means
from mlcnn.passes import FoldBatchNorm
from mlcnn.passes.focus_forms import unlisted

__all__ = ["Native"]

Shapes = tuple[tuple[int, ...], ...]

_KEPT = 4  # programs per session: each has its own copy of the weights


def _sizes(output: ir.Value) -> tuple[int, ...]:
    """Shape of a network's output; 0 is allowed: a batch of no images has outputs of none."""
    sizes = tuple(size for size in output.shape or () if isinstance(size, int))
    if output.shape is None or len(sizes) != len(output.shape):
        raise UnsupportedError(
            f"native: output {output.name!r} has shape {output.shape or '?'}, which inputs and "
            "weights do not say; use engine 'onnxruntime'"
        )
    return sizes


def _handed(array: Array) -> NDArray[np.float32 | np.bool_]:
    """An input as the kernels read it: flags of positions are bytes, all else is floats."""
    flags = array.dtype == np.bool_ and array.ndim == MAP_RANK
    return np.ascontiguousarray(array, np.bool_ if flags else np.float32)


def _is_empty(output: ir.Value) -> bool:
    return output.shape is not None and 0 in output.shape.dims


def _notes(
    library: Library, operations: Sequence[Operation], layers: Sequence[LayerAlgorithm]
) -> Iterator[str]:
    """What makes these kernels slower than they could be."""
    if not library.assembly:
        yield (
            "native: the compiler refuses assembly, so the kernels are built without, and slower; "
            "set CC to gcc or clang"
        )
    whole = sum(operation.op == Op.KEEP for operation in operations)
    if whole:
        yield (
            f"native: {whole} focused layer(s) have no lists of positions (depthwise ones, and "
            "masks behind another operator): computed whole, then masked, so nothing is gained"
        )
    if library.counts < BEST_COUNTS and any(layer.bits.are_few for layer in layers):
        lacks = "VPOPCNTDQ" if library.counts else "VPOPCNTDQ or AVX2"
        yield (
            f"native: this processor, or what the kernels are built for, has no {lacks}, so layers "
            "of few bits take longer; their results are the same"
        )
    if not library.vnni and any(operation.op == Op.CODES_CONV for operation in operations):
        yield (
            "native: this processor has no VNNI instructions that the kernels could use, so "
            "quantised layers take longer; their results are the same"
        )


class _Session:
    """A network whose memory is planned anew for each new shape of its inputs."""

    def __init__(
        self, model: ir.Model, march: str, threads: int, choose: Callable[[Library], Chooser], *,
        integers: bool = True, rounded_means: bool = False,
    ) -> None:  # fmt: skip
        self._model, self._march, self._threads = model, march, threads
        self._choose, self._integers, self._rounded_means = choose, integers, rounded_means
        self.algorithms: tuple[LayerAlgorithm, ...] = ()
        self.notes: tuple[str, ...] = ()
        self._inputs: tuple[Signature, ...] = signatures(model)
        self._programs: dict[Shapes, Calls] = {}
        self._lock = Lock()

    def calls(self, shapes: Shapes) -> Calls:
        """The program for inputs of these shapes, in their order."""
        found = self._programs.get(shapes)
        if found is not None:
            return found
        with self._lock:  # what threads ask for at the same time is made once
            if shapes not in self._programs:
                found = self._made(shapes)
                if len(self._programs) == _KEPT:
                    del self._programs[next(iter(self._programs))]
                self._programs[shapes] = found
            return self._programs[shapes]

    def _made(self, shapes: Shapes) -> Calls:
        named = {s.name: shape for s, shape in zip(self._inputs, shapes, strict=True)}
        try:
            fixed = fold_constants(mended(fix_shapes(self._model, named)), spread=True)
            infer_shapes(fixed)
        except PassError as error:  # these inputs do not fit together, or not this network
            raise UnsupportedError(f"native: inputs {named}: {error}") from error
        library, operations = suited(fixed, self._march), list[Operation]()
        nothing = not all(map(prod, shapes)) and all(map(_is_empty, fixed.graph.outputs))
        if not nothing:  # without an image there is nothing to compute
            choose = self._choose(library)
            operations = lower(
                fixed, library, choose,
                integers=self._integers, rounded_means=self._rounded_means,
            )  # fmt: skip
            self.algorithms = tuple(choose.choices)
            self.notes = (*choose.notes, *_notes(library, operations, choose.choices))
        outputs = tuple(_sizes(value) for value in fixed.graph.outputs)
        program = Program(operations, library, apart(operations))
        return Calls(program, len(shapes), outputs, self._threads)

    def _bound(self, inputs: Arrays) -> tuple[Calls, list[NDArray[Any]], list[Floats]]:
        """The program, all arrays that it reads and writes, and those that it writes."""
        check_inputs(self._inputs, inputs)
        calls = self.calls(tuple(inputs[signature.name].shape for signature in self._inputs))
        given = [_handed(inputs[s.name]) for s in self._inputs]
        results = [np.empty(shape, np.float32) for shape in calls.outputs]
        return calls, [*given, *results], results

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once; see ``Session.run``. Several threads may do so at the same time."""
        calls, arrays, results = self._bound(inputs)
        calls([array.ctypes.data for array in arrays])
        names = (value.name or "" for value in self._model.graph.outputs)
        return dict(zip(names, results, strict=True))

    def runner(self, inputs: Arrays) -> Callable[[], object]:
        """A callable for timing; see ``Session.runner``."""
        calls, arrays, results = self._bound(inputs)
        slot = calls.taken()  # and not given back: it is the runner's
        slot.point([array.ctypes.data for array in arrays])
        call, kept = slot.call, (arrays, results)

        def run() -> list[Floats]:
            call()
            return kept[1]

        return run


@dataclass(frozen=True, slots=True)
class Native:
    """Our own kernels: channels in blocks of one vector, memory planned beforehand.

    Convolutions sum up in registers over 4 x 6 blocks at a time; borders are zeros in memory,
    concatenations are places, and activations, additions and batch norms happen where a
    convolution writes. Batches of networks with large images and small weights are computed image
    by image. It computes in float32 what networks of convolutions need, and refuses
    other networks. The kernels are compiled once, by the machine's C compiler.

    Attributes:
        march: the processor to compile for, as gcc names it; one that this machine can run.
        algorithm: of convolutions: ``auto`` (by a model of this machine), ``measured``, ``direct``
            or ``winograd`` (wherever it fits); or a file that ``mlcnn bench --json`` wrote, whose
            choices are repeated.
        precision: ``fp32`` computes quantised networks in float32, from what their codes stand for;
            else integers are, where a layer reads codes and its result is rounded to codes.
        rounded_means: of a quantised network: whether the means that a fused average pool leaves
            are rounded to codes, which is faster; by default they are sums of 16 bits, exact.
    """

    march: str = "native"
    algorithm: str = MEASURED
    precision: str | None = None
    rounded_means: bool = False

    @property
    def name(self) -> str:
        """``native``, with the algorithm if one was chosen."""
        return "native" if self.algorithm == MEASURED else f"native:{self.algorithm}"

    def prepare(self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU) -> _Session:
        """Make a network ready to run; see ``Engine.prepare``."""
        if device_of(device) is not Device.CPU:
            raise InputError(f"native runs on device 'cpu' only, got {device!r}")
        library = load(self.march)
        if positive_threads(threads) > 1 and not library.parallel:
            raise UnsupportedError(
                "engine 'native' was compiled without OpenMP, so it computes with one thread; "
                "use threads 1, or install a compiler with OpenMP"
            )
        flat = flattened(unlisted(inline(model, foreign=True)))
        standard = pad_means(FoldBatchNorm().apply(staged(flat)).model)
        check(standard)
        choosing = Choosing(self.algorithm, machine_of(self.march), threads, weight_bytes(standard))
        return _Session(
            standard, self.march, threads, choosing.chooser,
            integers=self.precision != "fp32", rounded_means=self.rounded_means,
        )  # fmt: skip
