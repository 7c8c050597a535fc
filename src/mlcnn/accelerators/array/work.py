"""A layer, and how an array runs it: as it is, unless a kind of array has another way."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array.axis import Loops, Span, Tile, TiledAxis, axis_of
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.precision import Precision
from mlcnn.counting import Operations, original
from mlcnn.workload import ConvLayer

__all__ = ["PLAIN", "Execution", "Passing", "Work"]


@dataclass(frozen=True, slots=True)
class Passing:
    """What passes the input unit or leaves, for its own cycles; arrays by tiling.

    Attributes:
        made: words of a channel that the input unit makes.
        positions: that the slices work on.
        filters: output channels.
        channels: input channels.
    """

    made: Amounts
    positions: Amounts
    filters: Amounts
    channels: Amounts


@dataclass(frozen=True, slots=True)
class Execution:
    """Convolution; of a pool behind it the array adds up all outputs on one entry.

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
        return len(convolved), inputs, inputs, 0

    def span(self, axis: TiledAxis, outputs: int) -> Span:
        """What a tile of so many outputs takes: see ``Cut``."""
        inputs = len(axis.taps(axis.under(range(outputs))))
        return Span(outputs, inputs, ((0, 0),) * inputs)

    @property
    def in_sets(self) -> bool:
        """Whether a set of weights takes as many input channels as a slice has multipliers."""
        return True

    @property
    def along_width(self) -> "Execution":
        """How the width is cut, where that differs from the height."""
        return self

    def open_sums(self, axis: TiledAxis) -> int:
        """Sums along an axis that are begun and not complete, at most, at any input."""
        del axis
        return 0

    def row_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits in the row buffer of a sum that is begun."""
        del layer
        return precision.bits

    def loaded_words(self, precision: Precision) -> float:
        """Words in DRAM of a position of an input channel."""
        del precision
        return self.input_block

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

    def window(self, layer: ConvLayer) -> int:
        """Outputs of the convolution that accumulate on one entry."""
        return 1 if layer.pool is None else math.prod(layer.pool.kernel)

    def taps(self, layer: ConvLayer) -> int:
        """Sets of weights of as many channels as a slice has multipliers."""
        return layer.kernel_area * self.frequencies

    def fill(self, side: Amounts, p: Parameters) -> Amounts:
        """Beats of a set of weights of ``side`` slices."""
        return np.ceil(side / p.groups)

    def passes(self, filters: Amounts, side: Amounts) -> Amounts:
        """Cycles of a position and set of weights, on average over a layer's tiles and turns.

        Args:
            filters: output channels of a tile.
            side: how many of them run side by side.
        """
        del filters, side
        return np.ones(1)

    def dram_share(self, layer: ConvLayer) -> float:
        """Beats of weights in DRAM for each that is read."""
        del layer
        return 1.0

    def held_share(self, layer: ConvLayer) -> float:
        """Beats of weights in the buffer for each that is read in a tile."""
        del layer
        return 1.0

    def rounds(self, layer: ConvLayer, channels: int, multipliers: int) -> float:
        """Times that an output is added to for so many input channels, on average."""
        return -(-channels // multipliers) * self.taps(layer)

    def read_words(self, layer: ConvLayer, loops: Loops, multipliers: int) -> float:
        """Words of the memory of inputs that a position takes, over all tiles and turns.

        All slices of a way have the same word: as many channels at one tap as each has multipliers.
        """
        return layer.G * loops.turns * loops.rounds * multipliers

    def dram_bits(self, layer: ConvLayer) -> float:
        """Bits in DRAM of one filter's one channel, on average, where weights are in no sets."""
        raise NotImplementedError

    def tile_weight_bits(self, layer: ConvLayer, filters: Amounts, channels: Amounts) -> Amounts:
        """Bits of the tile of weights that has most, where they are in no sets."""
        raise NotImplementedError

    def products(self, layer: ConvLayer) -> int:
        """Products of one position over all filters."""
        return layer.K * (layer.C // layer.G) * self.taps(layer)

    def input_cycles(self, t: Passing, p: Parameters) -> tuple[Amounts, Amounts]:
        """Cycles of the input unit for a chunk of inputs, and of weights, beside the stream's."""
        del t, p
        return np.zeros(1), np.zeros(1)

    def returning_cycles(self, t: Passing, p: Parameters) -> Amounts:
        """Cycles of the input unit for a finished tile that passes it on its way out."""
        del t, p
        return np.zeros(1)

    def additions(self, layer: ConvLayer, loops: Loops) -> tuple[int, int]:
        """Additions of the input unit; and those of the output unit beside the bias."""
        del layer, loops
        return 0, 0

    def counted(self, layer: ConvLayer) -> Operations | None:
        """Operations of the layer as ``mlcnn.counting`` counts; None: those that are executed."""
        return original(layer)


PLAIN = Execution()
"""The layer as it is."""


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
    def loaded_words(self) -> float:
        """Words in DRAM of a position of an input channel."""
        return self.execution.loaded_words(self.precision)

    @property
    def loaded_bits(self) -> float:
        """Bits in DRAM of a position of an input channel, without what fills the beat."""
        return self.loaded_words * self.precision.bits

    @property
    def frequencies(self) -> int:
        """Products of a position, input channel and tap, one after the other."""
        return self.execution.frequencies

    @property
    def sums(self) -> int:
        """Sums of a position and output channel that accumulate apart."""
        return self.execution.sums

    @property
    def output_block(self) -> int:
        """Words in DRAM of one output of one filter."""
        return self.execution.block

    @property
    def row_bits(self) -> int:
        """Bits in the row buffer of each box sum that is begun."""
        return self.execution.row_bits(self.layer, self.precision)

    @property
    def taps(self) -> int:
        """Sets of weights of as many channels as a slice has multipliers."""
        return self.execution.taps(self.layer)

    @property
    def window(self) -> int:
        """Outputs of the convolution that accumulate on one entry."""
        return self.execution.window(self.layer)

    def sweeps(self, wide_bits: Amounts) -> Amounts:
        """Words of the input buffer that a stored word takes, and sweeps of sets over them."""
        if not self.precision.is_integer:
            return np.ones_like(np.asarray(wide_bits, dtype=np.int64))
        return -(-self.stored_bits // np.asarray(wide_bits, dtype=np.int64))
