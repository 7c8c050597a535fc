"""An array with Winograd's algorithm: transforms on the way in and behind the accumulators."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mlcnn.accelerators.array.axis import Loops, Span, Tile, TiledAxis
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.array.work import Execution, Passing, Work
from mlcnn.accelerators.cost import LayerTask
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer

__all__ = ["TRANSFORMS", "Transform", "Winograd", "WinogradArray"]


@dataclass(frozen=True, slots=True)
class Transform:
    """Additions of Winograd's F(m x m, 3x3) on one tile.

    Counted on the matrices of Lavin and Gray 2016, one-dimensional transforms with common terms
    shared; multiplications by powers of two are free (exponents or shifts), one by 5 costs one
    addition (4x + x). The weights' constants 1/6, 1/12, 1/24 are scaled into the output's.

    Attributes:
        input: additions of the input transform of (m + 2)^2 words.
        weight: additions of the weight transform of 9 words.
        output: additions of the output transform.
    """

    input: int
    weight: int
    output: int


TRANSFORMS = {2: Transform(32, 21, 24), 4: Transform(144 + 24, 54, 100)}
"""By m. F(2,3): 4 input additions in 8 vectors, 3 x 7 for weights, 4 x 6 for outputs; F(4,3): 12
and 2 for the factors 5 in 12 vectors, 6 x 9, 10 x 10."""


@dataclass(frozen=True, slots=True)
class Winograd(Execution):
    """F(m x m, 3x3) on the transformed input, then as plain.

    Attributes:
        outputs: m.
    """

    name: ClassVar[str] = "winograd"

    outputs: int

    def tile(self, axis: TiledAxis, outputs: range) -> Tile:
        """Positions are transform tiles; they overlap by two words when stored."""
        convolved = axis.convolution_outputs(outputs)
        inputs = len(axis.plain_inputs(convolved))
        return len(convolved), inputs, self.span(axis, len(outputs)).stored, 0

    def span(self, axis: TiledAxis, outputs: int) -> Span:
        """See ``tile``."""
        under = axis.under(range(outputs))
        tiles, inputs = -(-len(under) // self.outputs), len(axis.taps(under))
        return Span(tiles, tiles * (self.outputs + 2), ((0, 0),) * inputs)

    @property
    def frequencies(self) -> int:
        """Products of a transform tile."""
        return (self.outputs + 2) ** 2

    def window(self, layer: ConvLayer) -> int:
        """A pool runs behind the output transform."""
        del layer
        return 1

    def taps(self, layer: ConvLayer) -> int:
        """One set of each frequency."""
        del layer
        return self.frequencies

    def dram_share(self, layer: ConvLayer) -> float:
        """Weights are transformed on the way in."""
        return layer.kernel_area / self.frequencies

    def input_cycles(self, t: Passing, p: Parameters) -> tuple[Amounts, Amounts]:
        """Inputs and weights are transformed by the adders."""
        cost = TRANSFORMS[self.outputs]
        inputs = t.positions * t.channels * cost.input
        weights = t.filters * t.channels * cost.weight
        return np.ceil(inputs / p.input_adders), np.ceil(weights / p.input_adders)

    def additions(self, layer: ConvLayer, loops: Loops) -> tuple[int, int]:
        """The transforms of inputs and weights; and those of the outputs."""
        cost = TRANSFORMS[self.outputs]
        positions = layer.N * loops.rows.all_positions * loops.columns.all_positions
        inputs = layer.C * positions * cost.input * loops.input_reloads
        weights = layer.K * (layer.C // layer.G) * cost.weight * loops.weight_reloads
        pooled = 0
        if layer.pool is not None:
            pooled = layer.N * loops.rows.all_convolved * loops.columns.all_convolved
        return inputs + weights, layer.K * (positions * cost.output + pooled)

    def counted(self, layer: ConvLayer) -> None:
        """As executed: the transforms are part of it."""
        del layer


@dataclass(frozen=True, slots=True)
class WinogradArray(Array):
    """An array whose input unit transforms inputs and weights of plain 3x3 convolutions.

    Attributes:
        winograd_tile: m of F(m x m, 3x3).
    """

    kind: ClassVar[str] = "winograd"
    needs_input_adders: ClassVar[bool] = True

    winograd_tile: int

    def check(self) -> None:
        """Look at what belongs together."""
        ArrayDescription.check(self)
        if self.winograd_tile not in TRANSFORMS:
            raise InputError(
                f"accelerator {self.name}: winograd_tile is {self.winograd_tile} and kind "
                f"{self.kind} takes {' or '.join(map(str, TRANSFORMS))}"
            )

    @property
    def transform_adders(self) -> float:
        """Those of the output transform, and one for each output of a pool, at the lanes' rate."""
        tile = self.winograd_tile
        return self.lanes * (TRANSFORMS[tile].output + tile**2) / (tile + 2) ** 2

    @property
    def family(self) -> tuple[object, ...]:
        """Arrays of one family run layers in the same ways."""
        return type(self), self.precision, self.winograd_tile

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """Transformed where that can be, and as it is."""
        plain = self.plain(task)
        if not _takes_winograd(task.nest):
            return (plain,)
        return replace(plain, execution=Winograd(self.winograd_tile)), plain


def _takes_winograd(layer: ConvLayer) -> bool:
    gaps = layer.pool is not None and any(
        stride > window
        for stride, window in zip(layer.pool.strides, layer.pool.kernel, strict=True)
    )
    kernel = (layer.R, layer.S) == (3, 3)
    return kernel and layer.strides == (1, 1) and layer.dilations == (1, 1) and not gaps
