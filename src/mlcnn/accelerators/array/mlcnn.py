"""MLCNN's array: box sums on the way in, so that a convolution and its average pool run as one."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array.axis import Loops, Tile, TiledAxis
from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Floats, Tilings
from mlcnn.accelerators.array.work import Execution, Work
from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.precision import Precision
from mlcnn.counting import Operations, Reuse, fused
from mlcnn.workload import ConvLayer

__all__ = ["Boxes", "MlcnnArray"]


@dataclass(frozen=True, slots=True)
class Boxes(Execution):
    """Box sums on the way in, then a convolution at the pooled outputs only.

    Attributes:
        paired: whether the layer's producer wrote box sums along the height instead of its
            outputs (the paper's S2 = 1).
    """

    name: ClassVar[str] = "fused"
    fused: ClassVar[bool] = True

    paired: bool = False

    def tile(self, axis: TiledAxis, outputs: range) -> Tile:
        """One box sum for every tap of every pooled output, each formed once."""
        boxes = [axis.box_inputs(start) for start in axis.box_starts(outputs)]
        used = [box for box in boxes if box]
        inputs = len(set[int]().union(*used))
        additions = sum(len(box) - 1 for box in used)
        if self.paired:
            inputs, additions = len(used), 0
        return len(outputs), len(outputs), len(outputs), inputs, len(used), additions

    @property
    def along_width(self) -> Execution:
        """Sums of a pair are along the height."""
        return replace(self, paired=False)

    def open_sums(self, axis: TiledAxis) -> int:
        """Box sums that are begun and not complete, at most, at any input."""
        if self.paired:
            return 0
        boxes = [axis.box_inputs(start) for start in axis.box_starts(range(axis.outputs))]
        spans = [(min(box), max(box)) for box in boxes if box]
        return max((sum(a <= at < b for a, b in spans) for at, _ in spans), default=0)

    def loaded_bits(self, precision: Precision) -> int:
        """Bits of an input in DRAM; a sum of two integers has one more."""
        return precision.bits + (1 if self.paired and precision.is_integer else 0)

    def stored_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a word in the input buffer: integer box sums are wider than inputs."""
        if not precision.is_integer:
            return precision.bits
        window = 1 if layer.pool is None else math.prod(layer.pool.kernel)
        return precision.bits + (window - 1).bit_length()

    def column_step(self, layer: ConvLayer) -> int:
        """Columns from one pooled output to the next."""
        return layer.strides[1] * (1 if layer.pool is None else layer.pool.strides[1])

    def input_cycles(self, t: Tilings, p: Parameters, m: Floats) -> tuple[Floats, Floats]:
        """Inputs come in over the lanes and are summed by the adders."""
        sums = np.ceil(t.additions * m / p.input_adders)
        return np.maximum(np.ceil(t.loaded * m / p.input_lanes), sums), np.zeros(1)

    def additions(self, layer: ConvLayer, loops: Loops) -> tuple[int, int]:
        """Sums along both axes; the layer before adds two rows for each pair, once."""
        rows, columns, maps = loops.rows, loops.columns, layer.N * layer.C
        boxes = rows.all_additions * columns.all_inputs + rows.all_stored * columns.all_additions
        pairs = rows.all_inputs * columns.all_inputs if self.paired else 0
        return maps * boxes * loops.input_reloads, maps * pairs

    def counted(self, layer: ConvLayer) -> Operations:
        """Box sums shared by all filters."""
        return fused(layer, Reuse.SHARED)


@dataclass(frozen=True, slots=True)
class MlcnnArray(Array):
    """An array whose input unit forms box sums."""

    kind: ClassVar[str] = "mlcnn"
    needs_input_adders: ClassVar[bool] = True

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """Fused where there is a pool whose windows are all whole; on pair sums where that pays."""
        plain, pool = self.plain(task), task.nest.pool
        if pool is None or not pool.is_plain(task.nest.P, task.nest.Q):
            return (plain,)
        boxes = replace(plain, execution=Boxes())
        pairs = replace(plain, execution=Boxes(paired=True))
        if task.sole_consumer and not task.scaled and pool.kernel[0] == 2 and _pays(boxes, pairs):
            return pairs, boxes, plain
        return boxes, plain


def _pays(raw: Work, pairs: Work) -> bool:
    """Whether rows of pair sums are fewer bytes than raw rows: never where windows overlap much."""
    rows = [work.rows.tiles(work.rows.outputs).inputs * work.loaded_bits for work in (raw, pairs)]
    return rows[1] < rows[0]
