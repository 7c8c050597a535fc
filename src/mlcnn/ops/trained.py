"""What a module for an operator is made of: the module, and where its weights come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from torch import Tensor, nn

from mlcnn.ops.geometry import Convolution

__all__ = ["TrainedLayer", "TrainedWeight", "trained_layer"]


@dataclass(frozen=True, slots=True)
class TrainedWeight:
    """Which parameter or buffer of a module an input of the node becomes.

    Attributes:
        name: of the parameter or buffer.
        index: of the node's input.
        transposed: the module keeps the matrix transposed.
        flat: the module keeps the values as a vector.
    """

    name: str
    index: int
    transposed: bool = False
    flat: bool = False

    def to_module(self, tensor: Tensor) -> Tensor:
        """The tensor as the module keeps it."""
        if self.transposed:
            return tensor.T.contiguous()
        return tensor.reshape(-1) if self.flat else tensor


@dataclass(frozen=True, slots=True)
class TrainedLayer:
    """A module for a node, its weights still to be filled in.

    Attributes:
        module: with empty weights.
        weights: where each comes from.
        pad: a module to run before it.
    """

    module: nn.Module
    weights: tuple[TrainedWeight, ...]
    pad: nn.Module | None = None


def trained_layer(
    node: ir.Node,
    read: Callable[[ir.Node], Convolution | str],
    make: Callable[[Convolution, bool], nn.Module],
    weights: Mapping[str, int],
    bias: int,
) -> TrainedLayer:
    """The module of a method's operator, its weights still to be filled in.

    Args:
        node: the operator.
        read: reads it.
        make: makes the module of a layer that has a bias, or has none.
        weights: which input of the node each weight of the module is.
        bias: which one the bias is.
    """
    layer = read(node)
    if isinstance(layer, str):
        raise ValueError(layer)
    has_bias = layer.bias is not None
    places = {**weights, **({"bias": bias} if has_bias else {})}
    kept = tuple(TrainedWeight(name, index) for name, index in places.items())
    return TrainedLayer(make(layer, has_bias), kept)
