"""A lower bound of the cycles of a tiling, in few operations.

It rules out most tilings, so that the exact search looks at few; where compute hides everything
else it is exact.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.cycles import (
    NEVER,
    Parameters,
    held_bytes,
    leave_time,
    rounds_of,
    split_slices,
)
from mlcnn.accelerators.tiling import Floats, Tilings, tilings
from mlcnn.accelerators.work import Work

__all__ = ["Needs", "least_cycles", "needs"]


# A reciprocal is rounded; so much less keeps the bound below.
_BELOW = 1 - 1e-12


@dataclass(frozen=True, slots=True)
class Needs:
    """What the tilings of a layer need whatever the machine; one entry each.

    Attributes:
        dram: DRAM bytes, edge tiles exact.
        held: bytes of the buffer.
        row: bytes of the row buffer.
        first: DRAM bytes of the first load.
        box_additions: additions of the input unit, all tiles as large as the largest.
        tile_bytes: DRAM bytes of a finished tile; one entry for each tile of outputs.
    """

    dram: Floats
    held: Floats
    row: Floats
    first: Floats
    box_additions: Floats
    tile_bytes: Floats


@lru_cache(maxsize=512)
def needs(work: Work) -> Needs:
    """The needs of all tilings of a layer."""
    t, layer, bits = tilings(work), work.layer, work.precision.bits
    kept, outer = t.kept > 0, t.weights_outer > 0
    input_reloads = np.where(kept & ~outer, 1, t.output_tiles)
    inputs = t.all_loaded * layer.C * input_reloads
    weights = layer.weights * np.where(kept & outer, 1, t.places)
    outputs = layer.N * layer.K * math.prod(layer.pooled)
    chunk = t.output_channels * layer.kernel_area * bits + t.loaded * work.loaded_bits
    return Needs(
        dram=(inputs * work.loaded_bits + (weights + outputs) * bits) / 8,
        held=held_bytes(work, t),
        row=t.row_sums * work.stored_bits / 8,
        first=chunk * t.input_channels / 8,
        box_additions=t.places * input_reloads * layer.C * t.additions,
        tile_bytes=t.tiles.outputs * t.tiles.output_channels * bits / 8,
    )


def least_cycles(work: Work, p: Parameters) -> Floats:
    """The bound of every tiling on every machine; infinite where it does not fit.

    All steps compute, behind the first load and before the last store; and DRAM and the input unit
    have all that the layer needs to do.

    Args:
        work: the layer.
        p: the machines, shape (machines, 1).

    Returns:
        Shape (machines, tilings).
    """
    t, fixed = tilings(work), needs(work)
    split = split_slices(work, t.tiles, p)
    store = np.ceil(fixed.tile_bytes / p.dram_bytes_per_cycle)
    store = np.maximum(leave_time(work, t.tiles, p), store)
    per_byte = _BELOW / p.dram_bytes_per_cycle
    bound = split.round[:, t.tile]
    bound *= _all_rounds(work, t, _alike(p))
    bound += store[:, t.tile]
    bound += fixed.first * per_byte
    np.maximum(bound, fixed.dram * per_byte, out=bound)
    if work.execution is Execution.FUSED:
        np.maximum(bound, fixed.box_additions * (_BELOW / _one_row(p.input_adders)), out=bound)
    _rule_out(bound, fixed.held, p.buffer_bytes)
    _rule_out(bound, fixed.row, p.row_buffer_bytes)
    bound[bound >= NEVER] = np.inf
    return bound


def _rule_out(bound: Floats, needed: Floats, there: Floats) -> None:
    """Infinity where more is needed than is there."""
    never = needed > there.max()
    bound[:, never] = np.inf
    if there.min() < there.max():
        bound[needed > there] = np.inf


def _all_rounds(work: Work, t: Tilings, p: Parameters) -> Floats:
    whole = (t.input_chunks - 1) * rounds_of(work, t.input_channels, p)
    return (whole + rounds_of(work, t.last_channels, p)) * (t.outer * t.inner)


def _alike(p: Parameters) -> Parameters:
    """One row where all machines pass weights alike."""
    multipliers, wide_bits = _one_row(p.multipliers), _one_row(p.wide_bits)
    return replace(p, multipliers=multipliers, wide_bits=wide_bits)


def _one_row(values: Floats) -> Floats:
    return values[:1] if np.all(values == values[0]) else values
