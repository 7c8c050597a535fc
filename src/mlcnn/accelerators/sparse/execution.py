"""A layer without its zeros: windows of inputs, and of each filter the weights that are left.

The loop nest is over windows of input channels. Steps of a layer count as long as the mean of its
windows and turns: their sum is exact. What computes and what loads is then taken to even out from
step to step, where dense steps are alike anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array import Execution
from mlcnn.accelerators.array.axis import Loops, Span, Tile, TiledAxis
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.array.work import Passing
from mlcnn.accelerators.sparse.occupancy import Occupancy
from mlcnn.accelerators.sparse.unit import Sparsity
from mlcnn.workload import ConvLayer

__all__ = ["Skipping", "SkippingMaps", "renewed_words"]


@dataclass(frozen=True, slots=True)
class Skipping(Execution):
    """Each slice multiplies by its non-zeros of a window, and all wait for the slowest.

    Attributes:
        unit: what leaves out zeros.
        multipliers: of a slice.
        bits: of a weight.
        channels: input channels of a window, on average: the last one may have fewer.
        least: cycles in which the buffer renews a window.
        occupancy: non-zeros by filter and window.
    """

    name: ClassVar[str] = "sparse"

    unit: Sparsity
    multipliers: int
    bits: int
    channels: float
    least: int
    occupancy: Occupancy

    @property
    def input_block(self) -> float:
        """Channels of the network in a window."""
        return self.channels

    @property
    def in_sets(self) -> bool:
        """A window has as many sets as its slowest slice."""
        return False

    @property
    def words(self) -> float:
        """Words of the buffer behind a position of a window."""
        return self.channels

    def taps(self, layer: ConvLayer) -> int:
        """As many weights as there are multipliers, wherever in the window they are."""
        del layer
        return self.multipliers

    @property
    def stored_bits_of_weights(self) -> int:
        """Bits of all non-zeros, their indices, and their numbers by filter and window."""
        numbers = self.occupancy.filters * self.occupancy.windows * self.unit.count_bits
        return self.occupancy.total * (self.bits + self.unit.index_bits) + numbers

    def dram_bits(self, layer: ConvLayer) -> float:
        """The stored bits by filter and window."""
        return self.stored_bits_of_weights / (layer.weights // layer.kernel_area)

    def dram_share(self, layer: ConvLayer) -> float:
        """There are no sets to be counted in DRAM."""
        del layer
        return 0.0

    def tile_weight_bits(self, layer: ConvLayer, filters: Amounts, channels: Amounts) -> Amounts:
        """The tile that really has most: the buffer has room for it."""
        del layer
        bits, count = self.bits + self.unit.index_bits, self.unit.count_bits

        def largest(some: int, windows: int) -> float:
            return self.occupancy.largest(some, windows, bits, count)

        return _by_pair(largest, filters, channels)

    def fill(self, side: Amounts, p: Parameters) -> Amounts:
        """Weights come with their indices."""
        bits = side * self.multipliers * (self.bits + self.unit.index_bits)
        return np.ceil(bits / (8 * p.beat_bytes))

    def passes(self, filters: Amounts, side: Amounts) -> Amounts:
        """Sets of the slowest slice, from the mask itself."""

        def mean(some: int, together: int) -> float:
            return self.occupancy.lockstep(self.multipliers, self.least, some, together)

        return _by_pair(mean, filters, side)

    def rounds(self, layer: ConvLayer, channels: int, multipliers: int) -> float:
        """A slice adds once for each of its own sets."""
        del layer
        return channels * float(self.occupancy.sets(multipliers).mean())

    def products(self, layer: ConvLayer) -> int:
        """One for each weight that is left."""
        del layer
        return self.occupancy.total

    def read_words(self, layer: ConvLayer, loops: Loops, multipliers: int) -> float:
        """A window is read whole at the first position of a row, then what is new of it."""
        del multipliers
        positions = loops.columns.all_positions
        step = layer.strides[1]
        new = renewed_words(layer, step) * (positions - loops.columns.tiles)
        words = (new + layer.kernel_area * loops.columns.tiles) / positions
        return layer.C * loops.turns * self.channels * words

    def counted(self, layer: ConvLayer) -> None:
        """As executed: there is no count of it on paper."""
        del layer


@dataclass(frozen=True, slots=True)
class SkippingMaps(Skipping):
    """Maps of shared kernels are formed on the way in; then a 1x1 layer over them, as above.

    Attributes:
        basis: kernels, and maps of each channel.
        area: taps of a kernel.
    """

    name: ClassVar[str] = "sparse on shared kernels"
    input_unit: ClassVar[str] = "basis unit"

    basis: int
    area: int

    def tile(self, axis: TiledAxis, outputs: range) -> Tile:
        """What is stored are maps at the places of the convolution's outputs."""
        convolved = axis.convolution_outputs(outputs)
        inputs = len(axis.plain_inputs(convolved))
        return len(convolved), inputs, len(convolved), 0

    def span(self, axis: TiledAxis, outputs: int) -> Span:
        """See ``tile``."""
        under = axis.under(range(outputs))
        return Span(outputs, len(under), ((0, 0),) * len(axis.taps(under)))

    def open_sums(self, axis: TiledAxis) -> int:
        """Rows of inputs that wait for those below them."""
        return (axis.kernel - 1) * axis.dilation

    @property
    def words(self) -> float:
        """Words of the buffer behind a position of a window."""
        return self.channels * self.basis

    def input_cycles(self, t: Passing, p: Parameters) -> tuple[Amounts, Amounts]:
        """Inputs pass the basis unit; weights come as they are."""
        del p
        products = t.made * t.channels * self.words * self.area
        return np.ceil(products / self.unit.basis_multipliers), np.zeros(1)

    def read_words(self, layer: ConvLayer, loops: Loops, multipliers: int) -> float:
        """All maps of a window, at each position anew."""
        del multipliers
        return layer.C * loops.turns * self.words


def renewed_words(layer: ConvLayer, step: int) -> int:
    """Words of a kernel's window in one channel that are new at the next position.

    Args:
        layer: the loop nest.
        step: columns from one position to the next.
    """
    dilation = layer.dilations[1]
    new = layer.S if step % dilation else min(layer.S, step // dilation)
    return layer.R * new


def _by_pair(function: Callable[[int, int], float], first: Amounts, second: Amounts) -> Amounts:
    """A function of two whole numbers at every pair of two arrays, once for each that differs."""
    pairs = np.stack(np.broadcast_arrays(first, second), axis=-1)
    different, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    values = np.array([function(int(a), int(b)) for a, b in different])
    return values[which].reshape(pairs.shape[:-1])
