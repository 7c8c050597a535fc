"""A layer, and how an array runs it: as it is, unless a kind of array has another way."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array.axis import AxisTiles, Loops, Tile, TiledAxis, axis_of
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Floats, Tiles, Tilings
from mlcnn.accelerators.precision import Precision
from mlcnn.counting import Operations, original
from mlcnn.workload import ConvLayer

__all__ = ["PLAIN", "Execution", "Work", "renewed_words", "window_words"]


@dataclass(frozen=True, slots=True)
class Execution:
    """Convolution, and behind the accumulators the pool if there is one.

    What the tilings, cycles, bytes and operations of a layer depend on; other ways override it.
    """

    name: ClassVar[str] = "plain"
    fused: ClassVar[bool] = False
    """Whether the convolution and the pool behind it run as one."""
    input_unit: ClassVar[str] = "addition-reuse unit"
    """What the input unit does, as it is named where it sets the cycles."""

    def tile(self, axis: TiledAxis, outputs: range) -> Tile:
        """What a tile of an axis holds: see ``Cut``."""
        convolved = axis.convolution_outputs(outputs)
        inputs = len(axis.plain_inputs(convolved))
        return len(outputs), len(convolved), len(convolved), inputs, inputs, 0

    @property
    def along_width(self) -> "Execution":
        """How the width is cut, where that differs from the height."""
        return self

    def open_sums(self, axis: TiledAxis) -> int:
        """Sums along an axis that are begun and not complete, at most, at any input."""
        del axis
        return 0

    def loaded_bits(self, precision: Precision) -> float:
        """Bits of an input in DRAM."""
        return precision.bits

    def stored_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a word in the input buffer."""
        del layer
        return precision.bits

    @property
    def block(self) -> int:
        """Channels of the network that one channel of the loop nest stands for."""
        return 1

    @property
    def input_block(self) -> float:
        """The same of an input channel alone."""
        return self.block

    @property
    def frequencies(self) -> int:
        """Products of a position, input channel and tap, one after the other."""
        return 1

    @property
    def sums(self) -> int:
        """Sums of a position and output channel that accumulate apart."""
        return self.frequencies

    @property
    def words(self) -> float:
        """Words of the input buffer behind each position that is stored."""
        return 1

    def taps(self, layer: ConvLayer) -> int:
        """Weights that one position meets at a time."""
        return layer.kernel_area

    def weight_bits(self, layer: ConvLayer, precision: Precision) -> float:
        """Bits in DRAM of one tap of one filter's one channel, on average."""
        del layer
        return precision.bits * self.block

    def weight_words(self, layer: ConvLayer) -> float:
        """Words in the buffer of one filter's one channel, on average."""
        return self.frequencies * self.taps(layer)

    def tile_weight_bits(self, layer: ConvLayer, precision: Precision, t: Tilings) -> Floats:
        """Bits in the buffer of a tile's weights, of the tile that has most."""
        return t.output_channels * t.input_channels * self.weight_words(layer) * precision.bits

    def set_words(self, multipliers: Floats) -> Floats:
        """Words of the buffer that fill the weight registers of a slice."""
        return multipliers

    def passes(self, filters: Floats, side: Floats) -> Floats:
        """Cycles of a position and set of weights, on average over a layer's tiles and turns.

        Args:
            filters: output channels of a tile.
            side: how many of them run side by side.
        """
        del filters, side
        return np.ones(1)

    def rounds(self, layer: ConvLayer, channels: int, multipliers: int) -> float:
        """Times that an output is added to for so many input channels, on average."""
        taps = self.taps(layer)
        return -(-channels // max(multipliers // taps, 1)) * -(-taps // multipliers)

    def products(self, layer: ConvLayer) -> int:
        """Products of one position over all filters."""
        return layer.K * (layer.C // layer.G) * self.taps(layer) * self.frequencies

    def window_words(self, layer: ConvLayer, columns: AxisTiles, multipliers: int) -> float:
        """Words that the windows of one row take in for one input channel, column tiles together.

        A pass covers up to ``multipliers`` taps of the kernel.
        """
        taps, step = self.taps(layer), self.column_step(layer)
        return window_words(layer, columns, taps, multipliers, step)

    def column_step(self, layer: ConvLayer) -> int:
        """Columns from one position to the next."""
        return layer.strides[1]

    def input_cycles(self, t: Tilings, p: Parameters, m: Floats) -> tuple[Floats, Floats]:
        """Cycles of the input unit for a chunk of ``m`` channels of inputs, and of weights."""
        del t, p, m
        return np.zeros(1), np.zeros(1)

    def returning_cycles(self, t: Tiles | Tilings, p: Parameters) -> Floats:
        """Cycles of the input unit for a finished tile that passes it on its way out."""
        del t, p
        return np.zeros(1)

    def additions(self, layer: ConvLayer, loops: Loops) -> tuple[int, int]:
        """Additions of the input unit; and those of the output unit beside bias and pool."""
        del layer, loops
        return 0, 0

    def counted(self, layer: ConvLayer) -> Operations | None:
        """Operations of the layer as ``mlcnn.counting`` counts; None: those that are executed."""
        return original(layer)


PLAIN = Execution()
"""The layer as it is."""


def window_words(
    layer: ConvLayer, columns: AxisTiles, taps: int, multipliers: int, step: int
) -> int:
    """Words that the windows of one row take in for one channel, over all column tiles.

    A pass covers up to ``multipliers`` taps of the kernel, row by row. At the first position of a
    row its window fills; at each further one it keeps what it has and takes the new columns. Zeros
    of the padding count as words.

    Args:
        layer: the loop nest.
        columns: how the width is cut.
        taps: of the kernel.
        multipliers: taps of a pass, at most.
        step: columns from one position to the next.
    """
    if taps == 1:
        return columns.all_positions
    words = 0
    for start in range(0, taps, multipliers):
        rows = [tap // layer.S for tap in range(start, min(start + multipliers, taps))]
        fresh = sum(_new_columns(rows.count(row), step, layer.dilations[1]) for row in set(rows))
        words += len(rows) * columns.tiles + fresh * (columns.all_positions - columns.tiles)
    return words


def renewed_words(layer: ConvLayer, step: int) -> int:
    """Words of a kernel's window in one channel that are new at the next position.

    Args:
        layer: the loop nest.
        step: columns from one position to the next.
    """
    return layer.R * _new_columns(layer.S, step, layer.dilations[1])


def _new_columns(taps: int, step: int, dilation: int) -> int:
    """Taps in a row of a window that lie on other columns than one position before."""
    return taps if step % dilation else min(taps, step // dilation)


@dataclass(frozen=True, slots=True)
class Work:
    """One layer in one execution.

    Attributes:
        layer: the loop nest, with its pool.
        precision: of weights and activations.
        execution: how it runs.
        scaled: whether the inputs are scaled and rectified for this consumer alone.
    """

    layer: ConvLayer
    precision: Precision
    execution: Execution = PLAIN
    scaled: bool = False

    @property
    def nameless(self) -> "Work":
        """The same without the layer's name: layers of one geometry share what is found for it."""
        return replace(self, layer=replace(self.layer, name=""))

    @property
    def rows(self) -> TiledAxis:
        """The height."""
        return axis_of(self.layer, 0, self.execution)

    @property
    def columns(self) -> TiledAxis:
        """The width."""
        return axis_of(self.layer, 1, self.execution.along_width)

    @property
    def stored_bits(self) -> int:
        """Bits of a word in the input buffer."""
        return self.execution.stored_bits(self.layer, self.precision)

    @property
    def loaded_bits(self) -> float:
        """Bits of an input in DRAM."""
        return self.execution.loaded_bits(self.precision)

    @property
    def frequencies(self) -> int:
        """Products of a position, input channel and tap, one after the other."""
        return self.execution.frequencies

    @property
    def sums(self) -> int:
        """Sums of a position and output channel that accumulate apart."""
        return self.execution.sums

    @property
    def weight_bits(self) -> float:
        """Bits in DRAM of one tap of one filter's one channel."""
        return self.execution.weight_bits(self.layer, self.precision)

    @property
    def output_bits(self) -> int:
        """Bits in DRAM of one output of one filter."""
        return self.precision.bits * self.execution.block

    @property
    def input_bits(self) -> float:
        """Bits in the input buffer behind each position that is stored."""
        return self.stored_bits * self.execution.words

    @property
    def row_bits(self) -> int:
        """Bits in the row buffer of each box sum that is begun."""
        return self.stored_bits * self.execution.block

    @property
    def taps(self) -> int:
        """Weights that one position meets at a time."""
        return self.execution.taps(self.layer)

    @property
    def weight_words(self) -> float:
        """Words in the buffer of one filter's one channel."""
        return self.execution.weight_words(self.layer)

    @property
    def pools_behind(self) -> bool:
        """Whether a pool runs behind the accumulators."""
        return self.layer.pool is not None and not self.execution.fused
