"""Weights and multiplications of block-circulant layers, for the papers that are held against them.

The method's own counts, and beside them those of other transforms: a bound on what a device must do
has to take the fewest.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mlcnn.ops.block_circulant import Blocks
from mlcnn.ops.block_circulant.transforms import (
    backward_operations,
    forward_operations,
    products,
)
from mlcnn.workload import ConvLayer

__all__ = ["FEWEST", "OURS", "PRODUCTS", "Transform", "stored_weights"]


def stored_weights(layer: ConvLayer, block: int) -> int:
    """Weights of a layer in blocks of ``block``; its channels are padded to multiples of it."""
    blocks = Blocks(block, layer.K, layer.C, layer.G)
    return layer.G * blocks.rows * blocks.columns * block * layer.R * layer.S


@dataclass(frozen=True, slots=True)
class Transform:
    """How the real Fourier transforms around the products of blocks are computed.

    Attributes:
        name: in words.
        forward: real multiplications for a block of k inputs, of k, a power of two.
        backward: for a block of outputs; the factor 1 / k stands in the weights.
    """

    name: str
    forward: Callable[[int], int]
    backward: Callable[[int], int]

    def multiplications(self, outputs: int, inputs: int, block: int) -> int:
        """Real multiplications of a dense layer in blocks of ``block``, for one input."""
        blocks = Blocks(block, outputs, inputs)
        transforms = blocks.columns * self.forward(block) + blocks.rows * self.backward(block)
        return transforms + blocks.rows * blocks.columns * products(block)


def _split_radix(size: int) -> int:
    """A half and two quarters; behind these, size / 8 - 1 pairs of twiddles and one of sqrt(1/2).

    Sorensen et al. 1987: (size / 2) (log2 size - 3) + 2 in closed form, at three multiplications a
    complex product. The inverse is the transpose and takes as many.
    """
    if size <= 4:
        return 0
    return _split_radix(size // 2) + 2 * _split_radix(size // 4) + 6 * (size // 8 - 1) + 2


FEWEST = Transform("split-radix transforms", _split_radix, _split_radix)
OURS = Transform(
    "as mlcnn counts it, radix 2",
    lambda size: forward_operations(size).multiplications,
    lambda size: backward_operations(size).multiplications,
)
PRODUCTS = Transform(
    "no multiplication in transforms (constants as shifted sums)", lambda _: 0, lambda _: 0
)
