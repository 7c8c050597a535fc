"""The time of a convolution by each algorithm, measured once and kept beside the kernels."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import median

import numpy as np

from mlcnn.engines.native.comparator_steps import with_comparisons
from mlcnn.engines.native.convolution import implement
from mlcnn.engines.native.few_bits import sample
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Kind, shown
from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.packing import Group, Packing, Shared
from mlcnn.engines.native.program import Floats, Operation, Part, Program, Value
from mlcnn.engines.native.store import read_json, write_json
from mlcnn.engines.native.winograd import Winograd

__all__ = ["Stopwatch"]

_ROUNDS = 5
_RESOLUTION = 1e-9  # seconds, of the clock
_MOST_EVICTED = 16 << 20  # floats


class Stopwatch:
    """Times convolutions as a network runs them: with other layers' weights in the caches."""

    def __init__(
        self, library: Library, threads: int, network_bytes: int, *, rounds: int = _ROUNDS
    ) -> None:
        """Measure with so many threads, for a network whose weights take so many bytes.

        Args:
            library: the kernels.
            threads: that compute.
            network_bytes: of all weights.
            rounds: runs of each algorithm that the median is taken over.
        """
        self._library, self._threads, self._rounds = library, threads, rounds
        floats = min(_MOST_EVICTED, 1 << max(10, (network_bytes // 4).bit_length()))
        self._evicting: Floats = np.zeros(floats, np.float32)
        self._path = library.path.with_suffix(".choices.json")
        self._known = read_json(self._path)

    def times(self, geometry: Geometry, kinds: Sequence[Kind]) -> dict[Kind, float]:
        """Milliseconds by algorithm, from the cache where they are there."""
        name = f"{geometry}, {self._threads} threads, {self._evicting.size} floats"
        key = hashlib.sha256(name.encode()).hexdigest()[:24]
        found = _parsed(self._known.get(key), kinds)
        if found is None:
            found = self.measure(geometry, kinds)
            entry = {_code(kind): ms for kind, ms in found.items()}
            self._known = read_json(self._path) | {key: entry}
            write_json(self._path, self._known)
        return found

    def measure(self, geometry: Geometry, kinds: Sequence[Kind]) -> dict[Kind, float]:
        """Milliseconds by algorithm, measured now and not kept."""
        geometry = replace(geometry, focused=False)  # all of its positions
        programs = {kind: self._program(geometry, kind) for kind in kinds}
        runs = {kind: program.call([], self._threads) for kind, program in programs.items()}
        spent: dict[Kind, list[float]] = {kind: [] for kind in kinds}
        for kind in kinds:
            runs[kind]()
        for _ in range(self._rounds):
            for kind in kinds:
                self._library.read(self._evicting)
                if geometry.groups > 1:  # what it reads has just been written: see ``mixes``
                    self._library.read(programs[kind].memory)
                start = time.perf_counter()
                runs[kind]()
                spent[kind].append(time.perf_counter() - start)
        return {kind: 1e3 * max(median(s), _RESOLUTION) for kind, s in spent.items()}

    def _program(self, geometry: Geometry, kind: Kind) -> Program:
        library, block = self._library, self._library.block
        top, left, bottom, right = geometry.pads
        sizes = [
            (size - 1) * stride + (kernel - 1) * dilation + 1 - before - after
            for size, stride, kernel, dilation, before, after in zip(
                (geometry.rows, geometry.columns), geometry.strides, geometry.kernel,
                geometry.dilations, (top, left), (bottom, right), strict=True,
            )
        ]  # fmt: skip
        groups = geometry.groups
        lanes = (block,) * (groups * len(geometry.lanes)) if groups > 1 else geometry.lanes
        source = Value(geometry.images, lanes, max(1, sizes[0]), max(1, sizes[1]))
        source.dense = geometry.dense
        source.widen(geometry.pads)
        filters = -(-geometry.filters // block)
        made = Value(
            geometry.images, (block,) * (groups * filters), geometry.rows, geometry.columns
        )
        added = Value(made.images, made.lanes, made.rows, made.columns)
        if geometry.few is not None:
            layer, codes = sample(geometry, geometry.few, source, kind, library)
            return Program(with_comparisons(geometry, layer, codes, kind, library), library)
        bias = np.zeros(groups * filters * block, np.float32)
        operation = Operation(
            Op.CONV, Part(source, 0, -top, -left), Part(made),
            Part(added) if geometry.residual else None,
            {**geometry.fields((source.rows, source.columns)), "filters": filters},
            {"biases": Packing(block, library.group).per_lane(bias)},
        )  # fmt: skip
        implement(operation, geometry, _weights(geometry), kind, library)
        return Program([operation], library)


def _weights(geometry: Geometry) -> Group:
    """Random ones, as many of them not zero."""
    generator = np.random.default_rng(0)
    shape = geometry.groups * geometry.filters, geometry.channels
    weight = generator.standard_normal((*shape, *geometry.kernel), np.float32)
    if geometry.nonzeros is None:
        return Group(0, geometry.lanes, 0, weight)
    if geometry.bases:
        basis = generator.standard_normal((geometry.bases, *geometry.kernel), np.float32)
        coefficients = generator.standard_normal((*shape, geometry.bases), np.float32)
        shared = Shared(basis, _thinned(coefficients, geometry.nonzeros, generator))
        return Group(0, geometry.lanes, 0, weight, shared)
    return Group(0, geometry.lanes, 0, _thinned(weight, geometry.nonzeros, generator))


def _thinned(weight: Floats, nonzeros: int, generator: np.random.Generator) -> Floats:
    """So many numbers of an array, at random places; the others are zero."""
    kept = np.zeros(weight.size, bool)
    kept[generator.permutation(weight.size)[:nonzeros]] = True
    return np.where(kept.reshape(weight.shape), weight, np.float32(0))


def _code(kind: Kind) -> str:
    if isinstance(kind, Winograd):
        return str(int(kind))
    return "-1" if kind is None else shown(kind)


def _parsed(entry: object, kinds: Sequence[Kind]) -> dict[Kind, float] | None:
    """The times in a cache's entry; None where one is missing or no time."""
    if not isinstance(entry, Mapping):
        return None
    found = {kind: entry.get(_code(kind)) for kind in kinds}
    if not all(isinstance(ms, float) and 0 < ms < inf for ms in found.values()):
        return None
    return {kind: float(ms) for kind, ms in found.items() if ms is not None}
