"""Bits that the codes of a network take: fewer than those of the type that they are stored in.

ONNX has whole numbers of 2, 4, 8 and 16 bits. Codes of 5 bits are stored as 8 that never leave the
range of 5: weights are what they are, and a ``Clip`` in front of ``QuantizeLinear`` bounds values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import QUANTIZE, constant, is_quantiser, is_standard

__all__ = ["Spread", "rounded_width", "spread_of", "stored_width", "summed_width"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Evenly spaced codes: ``least + step * number``, with numbers from 0 on.

    Odd codes 2q - (2^N - 1) have a step of 2, and the numbers q of N bits; with the numbers alone,
    products by all codes follow from one sum of the inputs more.

    Attributes:
        least: of the codes.
        step: the greatest of which all are multiples apart.
        most: the greatest number.
    """

    least: int
    step: int
    most: int

    @property
    def bits(self) -> int:
        """Of a number; 1 at least."""
        return max(1, self.most.bit_length())


def spread_of(codes: NDArray[np.integer[Any]]) -> Spread:
    """How codes, of which there are some, are spaced."""
    plain = codes if codes.dtype.kind in "iu" else codes.astype(np.int16)  # numbers of 4 bits
    found = np.unique(plain).astype(np.int64)
    least = int(found[0])
    step = max(1, int(np.gcd.reduce(found - least)))
    return Spread(least, step, (int(found[-1]) - least) // step)


def stored_width(value: ir.Value) -> int:
    """Bits that tell the numbers apart that a network keeps; see ``Spread``.

    Args:
        value: a constant, as it is kept: codes, where it is dequantised.

    Returns:
        The bits of the type for floats.
    """
    tensor = value.const_value
    dtype = value.dtype if tensor is None else tensor.dtype
    if dtype is None or not dtype.is_integer():
        return 32 if dtype is None else dtype.bitwidth
    if tensor is None or not tensor.size:
        return dtype.bitwidth
    return spread_of(tensor.numpy()).bits


def rounded_width(codes: ir.Value) -> int | None:
    """Bits of the codes that a ``QuantizeLinear`` gives; None where none gives them.

    Those of the type, or fewer where a ``Clip`` with constant ends leaves out some of its codes.
    """
    most = _most(codes)
    return None if most is None else max(most.bit_length(), 1)


def summed_width(codes: ir.Value, terms: int) -> int | None:
    """Bits of sums of so many of these codes, above the least of them; None as above."""
    most = _most(codes)
    return None if most is None else max((terms * most).bit_length(), 1)


def _most(codes: ir.Value) -> int | None:
    """How far the greatest code that occurs is above the least."""
    node = codes.producer()
    if node is None or not is_quantiser(node, QUANTIZE) or codes.dtype is None:
        return None
    whole = (1 << codes.dtype.bitwidth) - 1
    clip = None if node.inputs[0] is None else node.inputs[0].producer()
    if clip is None or clip.op_type != "Clip" or not is_standard(clip):
        return whole
    step = constant(node.inputs[1])
    ends = [constant(value) for value in clip.inputs[1:3]]
    if step is None or step.size != 1 or len(ends) < 2:
        return whole
    low, high = ends
    if low is None or high is None:
        return whole
    return min(round(float(high) / float(step)) - round(float(low) / float(step)), whole)
