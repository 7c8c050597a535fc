"""Layers of few bits, multiplied by AND and counts of ones.

Of weights w = 2 q - (2^N - 1) with q of N bits, and inputs a of A bits, a sum of products is::

    sum(w a) = 2 sum over n < N, m < A of 2^(n + m) popcount(AND(q_n, a_m)) - (2^N - 1) sum(a)

with bit planes q_n and a_m, 64 numbers to a word, along channels and taps [DoReFa]. The sum of the
inputs, a count of the ones in their planes alone, is formed once a position for all filters.
"""

import math
from dataclasses import dataclass

from mlcnn.workload import ConvLayer, Layer, Numbers, Sum

__all__ = ["BitOperations", "bit_operations"]

_WORD = 64  # bits


@dataclass(frozen=True, slots=True)
class BitOperations(Sum):
    """What a layer takes whose products are formed bit by bit.

    Attributes:
        ands: of words of 64 bits.
        popcounts: counts of the ones in a word.
        shifts: of sums, by powers of two.
        additions: of counts and sums, subtractions too.
    """

    ands: int = 0
    popcounts: int = 0
    shifts: int = 0
    additions: int = 0

    def __rmul__(self, times: int) -> "BitOperations":
        return BitOperations(
            times * self.ands, times * self.popcounts, times * self.shifts, times * self.additions
        )


def bit_operations(layer: Layer) -> BitOperations:
    """What a layer takes bit by bit; nothing where its weights or inputs have 8 bits or more.

    Behind a pool in front, inputs are sums of codes, of so many bits more. Packing the planes is
    not counted, nor are the pool's sums, which are among the layer's additions.
    """
    if not layer.numbers.are_few:
        return BitOperations()
    return sum((_of(part, layer.numbers) for part in layer.parts), BitOperations())


def _of(nest: ConvLayer, bits: Numbers) -> BitOperations:
    words = math.ceil(nest.products / _WORD)
    planes = bits.weight * bits.operand
    output = BitOperations(
        ands=planes * words,
        popcounts=planes * words,
        shifts=planes,  # all pairs of planes but the lowest, and the sum of them by 2
        additions=planes * words,  # the counts, less one, and the correction
    )
    scaled = int(bits.weight > 1)  # (2^N - 1) sum(a), as a shift and a subtraction
    correction = BitOperations(
        popcounts=bits.operand * words,
        shifts=bits.operand - 1 + scaled,
        additions=bits.operand * words - 1 + scaled,
    )
    return nest.N * nest.outputs * (nest.K * output + nest.G * correction)
