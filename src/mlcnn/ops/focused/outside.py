"""What a layer gives where its mask leaves it out, if that is not zero.

A focused convolution is zero there. With a vector ``c`` for the rest it is
``c + FocusedConv(X, MASK, W, B - c)``; with an input ``R`` that the rest is known to read, whose
output ``c`` is known, ``c + FocusedConv(X - R, MASK, W)``, which is exact wherever a window reads
nothing but ``R``, pads included.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.geometry import Convolution

__all__ = ["Outside"]


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """What a layer gives where its mask leaves it out.

    Attributes:
        value: shape (1, K, 1, 1); with ``reference`` its output, shape (1, K, P, Q).
        reference: what the layer reads there, shape (1, C, H, W); None where that is not known.
    """

    value: NDArray[np.floating]
    reference: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        spatial = self.value.shape[2:]
        if self.value.ndim != 4 or len(self.value) != 1:
            raise ValueError(f"shape (1, channels, height, width) is required: {self.value.shape}")
        if self.reference is None and spatial != (1, 1):
            raise ValueError("a value for each position is the output of what is read there")

    def fits(self, layer: Convolution) -> bool:
        """Whether ``before`` can be told: a bias that it changes is a constant."""
        plain = layer.bias is None or constant(layer.bias) is not None
        return plain or self.reference is not None

    def before(self, emitter: Emitter, layer: Convolution) -> tuple[ir.Value | None, ir.Value]:
        """What the focused layer reads in place of its input and its bias.

        Raises:
            ValueError: the layer's bias is no constant.
        """
        source = layer.node.inputs[0]
        if self.reference is not None and source is not None:
            zero = np.zeros(layer.filters)
            if self.reference.any():
                reference = emitter.weight(_small(self.reference), "reference")
                source = emitter.op("Sub", [source, reference])
            return source, emitter.weight(zero, "none")
        bias = np.zeros(layer.filters) if layer.bias is None else constant(layer.bias)
        if bias is None:
            raise ValueError("a bias that the network computes")
        return source, emitter.weight(bias - self.value.reshape(-1), "inside")

    def behind(self, emitter: Emitter, focused: ir.Value) -> ir.Value:
        """The layer's output, from what the focused layer gives."""
        return emitter.op("Add", [focused, emitter.weight(_small(self.value), "outside")])


def _small(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """One position for all, where they are all alike."""
    first = values[:, :, :1, :1]
    return first if bool((values == first).all()) else values
