"""MLCNN's array: box sums on the way in, so that a convolution and its average pool run as one."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from mlcnn.accelerators.array.axis import Loops, Span, Tile, TiledAxis
from mlcnn.accelerators.array.machine import Array
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
        starts = axis.box_starts(outputs)
        boxes = [axis.box_inputs(start) for start in starts]
        used = [box for box in boxes if box]
        inputs = len(set[int]().union(*used))
        additions = sum(len(box) - 1 for box in used)
        if self.paired:
            inputs, additions = len(used), 0
        # A box of padding alone is stored as zeros: the slices read it as any other.
        return len(outputs), inputs, len(starts), additions

    def span(self, axis: TiledAxis, outputs: int) -> Span:
        """Every row of every box, and how many sums it continues and completes."""
        boxes = [axis.box(start) for start in axis.box_starts(range(outputs))]
        if self.paired:
            return Span(outputs, len(boxes), ((0, 1),) * len(boxes))
        continued = Counter(one for box in boxes for one in box[1:])
        completed = Counter(box[-1] for box in boxes)
        touched = sorted({one for box in boxes for one in box})
        sums = tuple((continued[one], completed[one]) for one in touched)
        return Span(outputs, len(boxes), sums)

    @property
    def along_width(self) -> Execution:
        """Sums of a pair are along the height."""
        return replace(self, paired=False)

    def open_sums(self, axis: TiledAxis) -> int:
        """Box sums that are begun and not complete, at most, at any input."""
        if self.paired:
            return 0
        boxes = [axis.box(start) for start in axis.box_starts(range(axis.outputs))]
        begun = Counter(one for box in boxes for one in range(box[0], box[-1]))
        return max(begun.values(), default=0)

    def row_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a sum that lacks its last row: those of an input, where windows have two rows."""
        if not precision.is_integer or layer.pool is None:
            return precision.bits
        return precision.bits + max(layer.pool.kernel[0] - 2, 0).bit_length()

    def loaded_words(self, precision: Precision) -> float:
        """A sum of two integers does not fit the word of one."""
        return 2 if self.paired and precision.is_integer else 1

    def stored_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a word in the input buffer: integer box sums are wider than inputs."""
        if not precision.is_integer:
            return precision.bits
        window = 1 if layer.pool is None else math.prod(layer.pool.kernel)
        return precision.bits + (window - 1).bit_length()

    def window(self, layer: ConvLayer) -> int:
        """The box sums are the window."""
        del layer
        return 1

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
