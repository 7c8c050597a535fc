"""A layer, and the way in which a machine runs it."""

import math
from dataclasses import dataclass, replace

from mlcnn.accelerators.axis import Axis, Execution, axis_of
from mlcnn.accelerators.description import Accelerator, Kind, Precision
from mlcnn.workload import ConvLayer

__all__ = ["TRANSFORMS", "Transform", "Work", "executions"]


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
class Work:
    """One layer in one execution.

    Attributes:
        layer: the loop nest, with its pool.
        execution: how it runs.
        precision: of weights and activations.
        transform: m of F(m x m, 3x3); 0 where the execution is not Winograd's.
        scaled: whether the inputs are scaled and rectified for this consumer alone.
        paired: whether the layer's producer wrote box sums along the height instead of its
            outputs (the paper's S2 = 1).
    """

    layer: ConvLayer
    execution: Execution
    precision: Precision
    transform: int = 0
    scaled: bool = False
    paired: bool = False

    @property
    def rows(self) -> Axis:
        """The height."""
        return axis_of(self.layer, 0, self.execution, self.transform, paired=self.paired)

    @property
    def columns(self) -> Axis:
        """The width."""
        return axis_of(self.layer, 1, self.execution, self.transform)

    @property
    def stored_bits(self) -> int:
        """Bits of a word in the input buffer: integer box sums are wider than inputs."""
        bits = self.precision.bits
        if self.execution is not Execution.FUSED or self.precision is not Precision.INT8:
            return bits
        pool = self.layer.pool
        window = 1 if pool is None else math.prod(pool.kernel)
        return bits + (window - 1).bit_length()

    @property
    def loaded_bits(self) -> int:
        """Bits of an input in DRAM; a sum of two integers has one more."""
        integer = self.precision is Precision.INT8
        return self.precision.bits + (1 if self.paired and integer else 0)

    @property
    def frequencies(self) -> int:
        """Products of a transform tile that accumulate apart; 1 outside Winograd."""
        return (self.transform + 2) ** 2 if self.execution is Execution.WINOGRAD else 1

    @property
    def taps(self) -> int:
        """Weights that one position meets at a time: R*S, or 1 of each frequency."""
        return 1 if self.execution is Execution.WINOGRAD else self.layer.kernel_area

    @property
    def weight_words(self) -> int:
        """Words in the buffer of one filter's one channel."""
        return self.frequencies * self.taps


def executions(
    layer: ConvLayer, machine: Accelerator, *, scaled: bool = False, sole_consumer: bool = False
) -> tuple[Work, ...]:
    """Every way in which ``machine`` can run ``layer``, the preferred first.

    Args:
        layer: the layer, with the pool behind it.
        machine: the accelerator.
        scaled: whether the inputs are scaled and rectified for this consumer alone.
        sole_consumer: whether the layer before writes for this one alone: it may write box sums
            of two rows then, which is looked at where that is fewer bytes.
    """
    plain = Work(layer, Execution.PLAIN, machine.precision, scaled=scaled)
    pool = layer.pool
    if machine.kind is Kind.MLCNN and pool is not None and pool.is_plain(layer.P, layer.Q):
        fused = Work(layer, Execution.FUSED, machine.precision, scaled=scaled)
        pairs = replace(fused, paired=True)
        if sole_consumer and not scaled and pool.kernel[0] == 2 and _pays(fused, pairs):
            return pairs, fused, plain
        return fused, plain
    if machine.kind is Kind.WINOGRAD and _takes_winograd(layer):
        transform = machine.winograd_tile
        return Work(layer, Execution.WINOGRAD, machine.precision, transform, scaled=scaled), plain
    return (plain,)


def _pays(raw: Work, pairs: Work) -> bool:
    """Whether rows of pair sums are fewer bytes than raw rows: never where windows overlap much."""
    rows = [work.rows.tiles(work.rows.outputs).inputs * work.loaded_bits for work in (raw, pairs)]
    return rows[1] < rows[0]


def _takes_winograd(layer: ConvLayer) -> bool:
    gaps = layer.pool is not None and any(
        stride > window
        for stride, window in zip(layer.pool.strides, layer.pool.kernel, strict=True)
    )
    kernel = (layer.R, layer.S) == (3, 3)
    return kernel and layer.strides == (1, 1) and layer.dilations == (1, 1) and not gaps
