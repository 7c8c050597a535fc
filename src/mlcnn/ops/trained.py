"""What a module for an operator is made of: the module, and where its weights come from."""

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["TrainedLayer", "TrainedWeight"]


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
