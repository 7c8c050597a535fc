"""A layer with block-circulant weights in three phases: transforms, products of bins, inverses."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array.axis import Loops, Span, Tile, TiledAxis
from mlcnn.accelerators.array.mlcnn import Boxes
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.array.work import Execution, Passing
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.precision import Precision
from mlcnn.ops.block_circulant import KIND, Blocks
from mlcnn.workload import ConvLayer, Layer

__all__ = ["PooledSpectral", "Spectral", "block_of", "in_blocks"]


def block_of(layer: Layer) -> int:
    """Points of a layer's blocks; 1 where its weights are not block-circulant."""
    return int(dict(layer.weights.options).get("block", 1)) if layer.weights.kind == KIND else 1


def in_blocks(nest: ConvLayer, block: int) -> ConvLayer:
    """The loop nest over blocks of channels, those of each group padded to whole ones."""
    blocks = Blocks(block, nest.K, nest.C, nest.G)
    return replace(nest, K=nest.G * blocks.rows, C=nest.G * blocks.columns)


@dataclass(frozen=True, slots=True)
class Spectral(Execution):
    """Inputs are transformed on their way in, outputs on their way out, by the same core.

    The loop nest is over blocks of channels. Between them the array multiplies bin by bin, each a
    convolution of its own from blocks to blocks: what accumulates is the spectrum of the output.

    Attributes:
        points: of a block.
        core: the FFT core.
    """

    name: ClassVar[str] = "spectral"
    input_unit: ClassVar[str] = "FFT core"

    points: int
    core: Core

    @property
    def block(self) -> int:
        """Channels of the network that one channel of the loop nest stands for."""
        return self.points

    @property
    def frequencies(self) -> int:
        """Real products of all bins."""
        return self.core.bin_products(self.points)

    @property
    def sums(self) -> int:
        """Three products of a bin accumulate apart, four in two sums."""
        return self.core.bin_words(self.points)

    @property
    def words(self) -> int:
        """Words of a spectrum."""
        return self.core.bin_words(self.points)

    def taps(self, layer: ConvLayer) -> int:
        """A set of each real product and tap."""
        return layer.kernel_area * self.frequencies

    def dram_share(self, layer: ConvLayer) -> float:
        """Weights are spectra of as many words as there are points."""
        del layer
        return self.points / self.frequencies

    def held_share(self, layer: ConvLayer) -> float:
        """Four products of a bin have two words."""
        del layer
        return self.words / self.frequencies

    def stored_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a word of a spectrum: integers grow by a bit with each level.

        So do a + b: no sum of the two parts of a bin is larger than the sum of all words.
        """
        del layer
        growth = self.points.bit_length() - 1
        return precision.bits + (growth if precision.is_integer else 0)

    def input_cycles(self, t: Passing, p: Parameters) -> tuple[Amounts, Amounts]:
        """Inputs pass the core; weights are spectra in DRAM."""
        del p
        return self.core.cycles(t.made * t.channels, self.points), np.zeros(1)

    def returning_cycles(self, t: Passing, p: Parameters) -> Amounts:
        """A tile leaves through the core."""
        del p
        return self.core.cycles(t.positions * t.filters, self.points)

    def counted(self, layer: ConvLayer) -> None:
        """As executed."""
        del layer


@dataclass(frozen=True, slots=True)
class PooledSpectral(Spectral):
    """Box sums on the way in, in front of the core; then as ``Spectral`` at the pooled outputs."""

    name: ClassVar[str] = "fused spectral"
    fused: ClassVar[bool] = True

    def tile(self, axis: TiledAxis, outputs: range) -> Tile:
        """Box sums, as the array forms them."""
        return Boxes().tile(axis, outputs)

    def span(self, axis: TiledAxis, outputs: int) -> Span:
        """See ``tile``."""
        return Boxes().span(axis, outputs)

    def window(self, layer: ConvLayer) -> int:
        """The box sums are the window."""
        return Boxes().window(layer)

    def row_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Bits of a sum that lacks its last row."""
        return Boxes().row_bits(layer, precision)

    def open_sums(self, axis: TiledAxis) -> int:
        """Box sums that are begun and not complete, of each channel of a block."""
        return Boxes().open_sums(axis)

    def stored_bits(self, layer: ConvLayer, precision: Precision) -> int:
        """Box sums grow, and then their spectra."""
        grown = Boxes().stored_bits(layer, precision) - precision.bits
        return Spectral.stored_bits(self, layer, precision) + grown

    def additions(self, layer: ConvLayer, loops: Loops) -> tuple[int, int]:
        """Box sums of every channel; the transforms are counted with the core."""
        before, behind = Boxes().additions(layer, loops)
        return before * self.points, behind
