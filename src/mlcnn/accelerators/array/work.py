"""A layer, and the way in which a machine runs it."""

from dataclasses import dataclass

from mlcnn.accelerators.array.axis import TiledAxis, axis_of
from mlcnn.accelerators.array.execution import PLAIN, Execution
from mlcnn.accelerators.precision import Precision
from mlcnn.workload import ConvLayer

__all__ = ["Work"]


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
    def loaded_bits(self) -> int:
        """Bits of an input in DRAM."""
        return self.execution.loaded_bits(self.precision)

    @property
    def frequencies(self) -> int:
        """Products of a position that accumulate apart."""
        return self.execution.frequencies

    @property
    def taps(self) -> int:
        """Weights that one position meets at a time."""
        return self.execution.taps(self.layer)

    @property
    def weight_words(self) -> int:
        """Words in the buffer of one filter's one channel."""
        return self.frequencies * self.taps

    @property
    def pools_behind(self) -> bool:
        """Whether a pool runs behind the accumulators."""
        return self.layer.pool is not None and not self.execution.fused
