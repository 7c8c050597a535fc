"""Latency, energy and fit of mappings by a compiled kernel; bit for bit those of ``scorer``."""

import ctypes
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.counts import check_exact
from mlcnn.codesign.scorer import check_keep, fits, score
from mlcnn.codesign.space import Access, accesses
from mlcnn.engines.compiled import Build, compiled
from mlcnn.errors import UnsupportedError
from mlcnn.workload import LoopNest

__all__ = ["Fast", "FastScorer", "kernel", "score_fast"]

_MOST_DIMS, _MOST_LEVELS, _MOST_AXES = 10, 8, 3
# Bit for bit as numpy: no contractions, and none of the liberties of -ffast-math.
_FLAGS = (
    *("-O3", "-std=gnu11", "-fno-strict-aliasing"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
_TARGET = "-march=native"
_UNBOUND = -1.0


class _Axis(ctypes.Structure):
    _fields_ = (
        ("outputs", ctypes.c_int32),
        ("taps", ctypes.c_int32),
        *((name, ctypes.c_double) for name in ("stride", "dilation", "step")),
        *((name, ctypes.c_double) for name in ("reduced_stride", "reduced_dilation")),
    )


class _Operand(ctypes.Structure):
    _fields_ = (
        ("plain", ctypes.c_int64),
        ("relevant", ctypes.c_int64),
        ("axes", ctypes.c_int32),
        ("axis", _Axis * _MOST_AXES),
    )


class _Level(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_double) for name in ("read_pj", "write_pj", "block")),
        ("bandwidth", ctypes.c_double * 3),
        ("capacity", ctypes.c_double),
        ("each", ctypes.c_double * len(Operand)),
        ("fan_out", ctypes.c_double),
        ("spread", ctypes.c_int64),
        ("keep", ctypes.c_uint8 * len(Operand)),
    )


class _Problem(ctypes.Structure):
    _fields_ = (
        ("dims", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        *((name, ctypes.c_uint8) for name in ("box", "same_step", "first_fill", "exchange")),
        ("mac_pj", ctypes.c_double),
        ("operand", _Operand * len(Operand)),
        ("level", _Level * _MOST_LEVELS),
    )


@dataclass(frozen=True, slots=True)
class Fast:
    """Mappings scored without their counts; arrays of shape (mappings,).

    Attributes:
        latency_cycles: as ``Score`` has it.
        energy_pj: as ``Score`` has it.
        fits: as ``scorer.fits`` has it.
    """

    latency_cycles: NDArray[np.float64]
    energy_pj: NDArray[np.float64]
    fits: NDArray[np.bool_]


@functools.cache
def kernel() -> ctypes.CDLL | None:
    """The compiled kernel; None where there is no compiler or it fails."""
    source = Path(str(files("mlcnn.codesign") / "kernels" / "score.c"))
    build = Build("mappings", source, _FLAGS, ((_TARGET,), ()))
    try:
        library = ctypes.CDLL(str(compiled(build, "scoring mappings", "score them in numpy")))
    except (UnsupportedError, OSError):
        return None
    library.mlcnn_problem.restype = ctypes.c_size_t
    library.mlcnn_score.restype = ctypes.c_double
    return library if library.mlcnn_problem() == ctypes.sizeof(_Problem) else None


def score_fast(
    nest: LoopNest,
    architecture: Architecture,
    batch: Batch,
    rule: Convention = EXACT,
    *,
    exchange: bool = False,
) -> Fast:
    """Score mappings by the compiled kernel, in numpy without a compiler.

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mappings.
        rule: what is counted.
        exchange: whether what levels exchange is scored alone, without the arithmetic: its energy
            without rounding to blocks, and the cycles that bandwidths allow it at least.

    Raises:
        InputError: as ``score``.
    """
    return FastScorer(nest, architecture, rule)(batch, exchange=exchange)


class FastScorer:
    """Scores many batches of one layer on one machine: what they have in common is made once.

    Args:
        nest: the layer.
        architecture: the machine.
        rule: what is counted.
    """

    def __init__(
        self, nest: LoopNest, architecture: Architecture, rule: Convention = EXACT
    ) -> None:
        self.nest, self.architecture, self.rule = nest, architecture, rule
        self._access = accesses(nest)
        self._axes = max(len(one.windows) for one in self._access)
        self._problems: dict[bytes, _Problem] = {}

    def __call__(self, batch: Batch, *, exchange: bool = False) -> Fast:
        """Score mappings; see ``score_fast``."""
        nest, architecture, rule = self.nest, self.architecture, self.rule
        library = kernel()
        levels, dims, many = batch.temporal.shape
        beyond = dims > _MOST_DIMS or levels > _MOST_LEVELS or self._axes > _MOST_AXES
        if library is None or beyond:
            return _in_numpy(nest, architecture, batch, rule, exchange=exchange)
        problem = self._problem(batch)
        problem.exchange = exchange
        result = Fast(np.empty(many), np.empty(many), np.empty(many, np.bool_))
        unlisted = np.empty(many, np.bool_)
        arrays = (
            np.ascontiguousarray(batch.temporal, np.float64),
            np.ascontiguousarray(batch.spatial, np.float64),
            np.ascontiguousarray(batch.order, np.int64),
        )
        outputs = (result.latency_cycles, result.energy_pj, result.fits, unlisted)
        largest = library.mlcnn_score(
            ctypes.byref(problem),
            *(ctypes.c_void_p(array.ctypes.data) for array in arrays),
            ctypes.c_int64(many),
            *(ctypes.c_void_p(array.ctypes.data) for array in outputs),
        )
        check_exact(nest, largest)
        # What has no closed form: instances side by side along a sliding axis.
        if len(index := np.flatnonzero(unlisted)):
            scored = score(nest, architecture, batch.at(index), rule, exchange=exchange)
            result.latency_cycles[index] = scored.latency_cycles
            result.energy_pj[index] = scored.energy_pj
        return result

    def _problem(self, batch: Batch) -> _Problem:
        """What the kernel is told, for mappings that keep what these keep."""
        key = batch.keep.tobytes()
        if key not in self._problems:
            check_keep(self.architecture, batch)
            self._problems[key] = _problem(self.architecture, batch, self._access, self.rule)
        return self._problems[key]


def _in_numpy(
    nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention, *, exchange: bool
) -> Fast:
    scored = score(nest, architecture, batch, rule, exchange=exchange)
    return Fast(scored.latency_cycles, scored.energy_pj, fits(nest, architecture, batch, rule))


def _problem(
    architecture: Architecture,
    batch: Batch,
    access: tuple[Access, Access, Access],
    rule: Convention,
) -> _Problem:
    problem = _Problem(
        dims=len(batch.dims),
        levels=len(architecture.levels),
        box=rule.box,
        same_step=rule.same_step,
        first_fill=rule.first_fill,
        mac_pj=architecture.mac_energy_pj,
    )
    for number, one in enumerate(access):
        _fill_operand(problem.operand[number], one)
    for number, level in enumerate(architecture.levels):
        _fill_level(problem.level[number], level, batch, number)
    return problem


def _fill_operand(target: Any, access: Access) -> None:
    target.plain, target.relevant = _bits(access.direct), _bits(access.relevant)
    target.axes = len(access.windows)
    for number, axis in enumerate(access.windows):
        step = math.gcd(axis.stride, axis.dilation)
        numbers = (axis.outputs, axis.taps, axis.stride, axis.dilation, step, *axis.reduced)
        target.axis[number] = _Axis(*numbers)


def _fill_level(target: Any, level: Level, batch: Batch, number: int) -> None:
    target.read_pj, target.write_pj = level.read_pj, level.write_pj
    target.block, target.fan_out = level.block_words, level.fan_out.size
    bounds = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
    for index, bound in enumerate(bounds):
        target.bandwidth[index] = bound or 0.0
    capacity = level.capacity
    apart = isinstance(capacity, Mapping)
    target.capacity = _UNBOUND if apart or capacity is None else capacity
    for index, operand in enumerate(Operand):
        target.each[index] = capacity.get(operand, 0) if isinstance(capacity, Mapping) else _UNBOUND
        target.keep[index] = bool(batch.keep[number, index])
    allowed = level.fan_out.dims
    target.spread = _bits([allowed is None or dim in allowed for dim in batch.dims])


def _bits(flags: Sequence[bool]) -> int:
    return sum(1 << number for number, flag in enumerate(flags) if flag)
