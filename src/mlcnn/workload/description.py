"""What a layer is: its loop nest, and what methods made of it.

Methods stack by filling different fields: one puts a pool behind the nest, another structures the
weights, a third shortens the numbers. Each field has a default that says "as it was".
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from mlcnn.workload.layer import ConvLayer, Pool
from mlcnn.workload.mask import Mask
from mlcnn.workload.operations import Sum

__all__ = ["DENSE", "Activity", "Arithmetic", "Layer", "Numbers", "Stored", "Weights"]


class Arithmetic(StrEnum):
    """How a weight and an input meet."""

    MULTIPLY = "multiply"
    COMPARE = "compare"
    AND_POPCOUNT = "and-popcount"


@dataclass(frozen=True, slots=True)
class Weights:
    """The structure of a layer's weights.

    Attributes:
        kind: its name, given by the method that made it; ``dense`` where there is none.
        options: what the kind leaves open, as (name, value): a block size, a density.
    """

    kind: str = "dense"
    options: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value:g}" for name, value in self.options)
        return f"{self.kind}({options})" if options else self.kind


DENSE = Weights()
"""Every weight is a number of its own."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bits of a layer's operands.

    Attributes:
        weight: bits of a weight.
        input: bits of an input.
        sums: bits of what a weight meets, where that are sums of inputs over the window of a pool
            in front; 0 elsewhere.
    """

    weight: int = 32
    input: int = 32
    sums: int = 0

    @property
    def operand(self) -> int:
        """Bits of what a weight meets."""
        return self.sums or self.input

    def __str__(self) -> str:
        return f"W{self.weight}A{self.operand}"

    @property
    def are_coded(self) -> bool:
        """Whether one of them is stored in codes of a byte or less."""
        return min(self.weight, self.operand) <= _BYTE

    @property
    def are_narrow(self) -> bool:
        """Whether one of them has so few bits that kernels of few bits may compute with it."""
        return min(self.weight, self.operand) <= _NARROW

    @property
    def are_few(self) -> bool:
        """Whether both a weight and what it meets have fewer bits than a byte."""
        return max(self.weight, self.operand) < _BYTE


@dataclass(frozen=True, slots=True)
class Activity:
    """Which share of the layer is computed, where that depends on the data.

    Attributes:
        mean: over a calibration set, 0 to 1.
        sd: standard deviation over its images.
        images: how many; 0 where the layer is always computed whole.
    """

    mean: float = 1.0
    sd: float = 0.0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Stored(Sum):
    """What a network keeps of a layer's weights and moves of its values.

    Attributes:
        parameters: numbers, biases included.
        weight_bytes: bytes of them.
        input_bytes: bytes of the layer's input, over the whole batch.
        output_bytes: bytes of its output.
    """

    parameters: int = 0
    weight_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0


_BYTE, _NARROW = 8, 4
_SINGLE, _WHOLE, _NOTHING = Numbers(), Activity(), Stored()


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network.

    Attributes:
        nest: the loop nest of the layer as it was, with the pool that it is fused with.
        operator: ``Conv``, ``Gemm`` or ``MatMul``.
        form: how it is computed; None where it is the plain operator.
        parts: the convolutions and dense layers that stand in the network for it now; itself
            where it is the plain operator.
        weights: the structure of its weights.
        numbers: bits of its operands.
        activity: which share of it is computed.
        arithmetic: how weight and input meet.
        density: share of the numbers of its largest weight that are not zero.
        density_before: the same as it was, where a record says so.
        mask: which of these are zero; None where they are computed, laid out anew, or kept as
            codes. It takes no part in comparisons.
        stored: parameters and bytes.
        before: the same as it was, where a record says so; the same as ``stored`` elsewhere.
        condition: the branch of an ``If`` that it stands in, see ``branches``; empty where it
            always runs.
        positions: name of the value that says which positions are computed, boolean, shape
            (N, 1, P, Q); empty where all are.
        channels: names of the values that say which channels are given and which are read,
            boolean, shape (N, K) and (N, C), each empty where all are; nothing where both are.
    """

    nest: ConvLayer
    operator: str = "Conv"
    form: str | None = None
    parts: tuple[ConvLayer, ...] = ()
    weights: Weights = DENSE
    numbers: Numbers = _SINGLE
    activity: Activity = _WHOLE
    arithmetic: Arithmetic = Arithmetic.MULTIPLY
    density: float = 1.0
    density_before: float = 1.0
    stored: Stored = _NOTHING
    before: Stored = _NOTHING
    condition: str = ""
    positions: str = ""
    channels: tuple[str, ...] = ()
    mask: Mask | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.nest.name

    @property
    def masks(self) -> frozenset[str]:
        """Names of the values that say how much of it is computed."""
        return frozenset({self.positions, *self.channels} - {""})

    def of_channels(self, outputs: int, inputs: int) -> "Layer":
        """As large a layer of other numbers of channels."""
        # Results of equal nests are kept: of numpy's numbers they would be numpy's.
        nest = replace(self.nest, K=int(outputs), C=int(inputs))
        return replace(self, nest=nest, parts=(nest,), mask=None)

    @property
    def pool(self) -> Pool | None:
        """The pool that it is fused with."""
        return self.nest.pool
