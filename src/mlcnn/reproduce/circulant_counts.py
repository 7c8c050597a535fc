"""Weights and multiplications of block-circulant layers, for the papers that are held against them.

A layer of K outputs and C inputs in blocks of k has p = ceil(K / k) by q = ceil(C / k) blocks of k
weights for each place of its kernel. Computed by real Fourier transforms, an output position takes
q transforms, p inverse ones and the products of p * q blocks; a block of real vectors has k / 2 + 1
frequencies, two of them real.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mlcnn.workload import ConvLayer

__all__ = ["FEWEST", "PLAIN", "PRODUCTS", "Transform", "block_products", "stored_weights"]


def stored_weights(layer: ConvLayer, block: int) -> int:
    """Weights of a layer in blocks of ``block``; its channels are padded to multiples of it."""
    rows, columns = _blocks(layer.K, layer.C, block)
    return rows * columns * block * layer.R * layer.S


def block_products(block: int, complex_product: int) -> int:
    """Real multiplications of a block's frequencies: 3 k / 2 - 1 at three for a complex product.

    Args:
        block: k, an even number.
        complex_product: real multiplications that a product of complex numbers takes.
    """
    return 2 + complex_product * (block // 2 - 1)


@dataclass(frozen=True, slots=True)
class Transform:
    """How a block-circulant layer is multiplied.

    Attributes:
        name: in words.
        complex_product: real multiplications that a product of complex numbers takes.
        real: multiplications of a real transform of k values, a power of two; those by 1 and i
            are none. The inverse takes as many, and its factor 1 / k stands in the weights.
    """

    name: str
    complex_product: int
    real: Callable[[int], int]

    def multiplications(self, outputs: int, inputs: int, block: int) -> int:
        """Real multiplications of a dense layer in blocks of ``block``, for one input."""
        rows, columns = _blocks(outputs, inputs, block)
        products = rows * columns * block_products(block, self.complex_product)
        return products + (rows + columns) * self.real(block)


def _blocks(outputs: int, inputs: int, block: int) -> tuple[int, int]:
    return -(-outputs // block), -(-inputs // block)


def _split_radix(size: int) -> int:
    """A half and two quarters; behind these, size / 8 - 1 pairs of twiddles and one of sqrt(1/2).

    Sorensen et al. 1987: (size / 2) (log2 size - 3) + 2 in closed form.
    """
    if size <= 4:
        return 0
    return _split_radix(size // 2) + 2 * _split_radix(size // 4) + 6 * (size // 8 - 1) + 2


def _radix_2(size: int) -> int:
    """Two halves; behind these, size / 4 - 1 twiddles of four multiplications each."""
    if size <= 4:
        return 0
    return 2 * _radix_2(size // 2) + 4 * (size // 4 - 1)


FEWEST = Transform(
    "split-radix transforms, three multiplications a complex product", 3, _split_radix
)
PLAIN = Transform("radix-2 transforms, four multiplications a complex product", 4, _radix_2)
PRODUCTS = Transform("no multiplications in transforms (constants as shifted sums)", 3, lambda _: 0)
