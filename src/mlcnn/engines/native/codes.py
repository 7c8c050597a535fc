"""What quantisers say: scales, zero points and the codes of weights, or why they are refused.

A code stands for ``step * (code - zero)``. Codes of activations are kept as u8; those of a signed
type are 128 higher here than in the network.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.program import Codes, Floats, Value
from mlcnn.errors import UnsupportedError
from mlcnn.graph import DEQUANTIZE, constant, is_constant, is_quantiser
from mlcnn.nn.site import Site

__all__ = [
    "Coded",
    "Coding",
    "Grid",
    "Weights",
    "coding_of",
    "dequantised",
    "grid_of",
    "is_dequantised",
    "refused",
    "weights_of",
]

Integers = NDArray[np.int32]
_Number = TypeVar("_Number", np.int32, np.float32)

_HALF = 128  # of the numbers of 8 bits, which are negative
_MOST_BITS = 16  # of codes that floats are rounded to


@dataclass(frozen=True, slots=True)
class Coding:
    """What u8 codes stand for.

    Attributes:
        step: of one code; a float32.
        zero: the code of 0.
    """

    step: float
    zero: int

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Least and greatest code of numbers between two bounds, without the zero point."""
        ends = (-self.zero, 255 - self.zero)
        bounds = np.rint(np.array([low, high], np.float32) / np.float32(self.step))
        least, greatest = (float(np.clip(bound, *ends)) for bound in bounds)
        return least, greatest


@dataclass(frozen=True, slots=True)
class Coded:
    """A value of codes, or of sums of them.

    Attributes:
        value: where they lie.
        coding: what they stand for.
        count: codes in each sum; 1 where they are codes.
        low: the least of them, without the zero point.
        high: the greatest.
    """

    value: Value
    coding: Coding
    count: int = 1
    low: float = -inf
    high: float = inf

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest one, as they lie in memory."""
        zero, (low, high) = self.coding.zero, self.coding.bounds(-inf, inf)
        if self.count > 1:  # whose ends are known
            low, high = -inf, inf
        return int(max(self.low, low)) + zero, int(min(self.high, high)) + zero


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What a quantiser rounds to that no u8 codes of one scale stand for.

    Attributes:
        steps: one, or of each channel.
        low: the least multiple of each step.
        high: the greatest.
        told: why these are no such codes.
    """

    steps: Floats
    low: Floats
    high: Floats
    told: str

    def equals(self, other: "Grid") -> bool:
        """Whether both round alike."""
        pairs = (self.steps, other.steps), (self.low, other.low), (self.high, other.high)
        return all(np.array_equal(*pair) for pair in pairs)


@dataclass(frozen=True, slots=True)
class Weights:
    """Constant weights in s8 codes, symmetric.

    Attributes:
        codes: (filters, ...).
        steps: of each filter.
        biases: of each filter, in steps of the filter's and the input's.
        left: of each filter's bias, what is no whole number of these.
    """

    codes: Codes
    steps: Floats
    biases: Integers
    left: Floats


def refused(site: Site, what: str, remedy: str) -> UnsupportedError:
    """The error for a way to quantise that the kernels lack."""
    return UnsupportedError(f"native: {site.spec.where}: {what}; {remedy}")


def _constant(site: Site, index: int, what: str) -> NDArray[Any]:
    found = constant(site.node.inputs[index])
    if found is None:
        raise refused(
            site, f"its {what} is not constant",
            "quantise statically, with calibration data, or use engine 'onnxruntime'",
        )  # fmt: skip
    return found


def _steps(site: Site) -> Floats:
    """The scales of a quantiser."""
    steps = _constant(site, 1, "scale").astype(np.float32).reshape(-1)
    bad = ~(np.isfinite(steps) & (steps > 0))
    if bad.any():
        raise refused(
            site, f"its scale is {steps[bad][0]}; finite scales above 0 are required",
            "quantise anew, with other calibration data",
        )  # fmt: skip
    return steps


def _zeros(site: Site, dtype: ir.DataType | None) -> tuple[Integers, np.dtype[np.generic]]:
    """The zero points of a quantiser, and the type of its codes."""
    zero = np.zeros(1, np.uint8 if dtype is None else dtype.numpy())
    if site.spec.has_input(2):
        zero = _constant(site, 2, "zero point")
    if not ir.DataType.from_numpy(zero.dtype).is_integer():
        raise refused(
            site, f"its codes, or zero points, are {zero.dtype}; whole numbers are supported",
            "write odd codes 2q - (2^N - 1) of zero point 0, as `mlcnn quantize --finetune` does",
        )  # fmt: skip
    return zero.reshape(-1).astype(np.int32), zero.dtype


def _ends(dtype: np.dtype[np.generic]) -> tuple[int, int]:
    """The least and the greatest code of a type."""
    kind = ir.DataType.from_numpy(dtype)
    least = -(1 << (kind.bitwidth - 1)) if kind.is_signed() else 0
    return least, least + (1 << kind.bitwidth) - 1


def coding_of(site: Site) -> Coding | None:
    """What a quantiser of an activation says; None of what is no u8 or s8 code of one scale.

    Raises:
        UnsupportedError: its scales or zero points are not constant, or no positive numbers.
    """
    steps, (zeros, dtype) = _steps(site), _zeros(site, _code_type(site))
    if dtype not in {np.dtype(np.uint8), np.dtype(np.int8)} or max(steps.size, zeros.size) > 1:
        return None
    return Coding(float(steps[0]), int(zeros[0]) + 128 * (dtype == np.int8))


def grid_of(site: Site) -> Grid:
    """The same of any codes of up to 16 bits, of one scale or of one per channel.

    Raises:
        UnsupportedError: as ``coding_of``, or other codes.
    """
    steps, (zeros, dtype) = _steps(site), _zeros(site, _code_type(site))
    if ir.DataType.from_numpy(dtype).bitwidth > _MOST_BITS:
        raise refused(
            site, f"activations in {dtype} codes; {_MOST_BITS} bits at most are supported",
            "quantise to QUInt8 or QInt8, or use engine 'onnxruntime'",
        )  # fmt: skip
    if steps.size > 1 and site.spec.integer("axis", 1) != 1:
        raise refused(
            site, f"{steps.size} scales of an activation along another axis than its channels",
            "quantise activations per tensor, or use engine 'onnxruntime'",
        )  # fmt: skip
    told = f"its inputs are {dtype} codes, which no kernel reads as codes"
    if max(steps.size, zeros.size) > 1:
        told = f"its inputs have {steps.size} scales, one for each channel"
    low, high = ((end - zeros).astype(np.float32) for end in _ends(dtype))
    return Grid(steps, low, high, told)


def _code_type(site: Site) -> ir.DataType | None:
    """Of the codes that a quantiser reads or writes, where the network says it."""
    reads = site.node.op_type == DEQUANTIZE
    value = site.node.inputs[0] if reads else site.node.outputs[0]
    return None if value is None else value.dtype


def _stored(site: Site) -> tuple[NDArray[np.int32], Floats, Integers, np.dtype[np.generic], int]:
    """Codes of a constant behind ``DequantizeLinear``, scales, zero points, type and axis."""
    node = site.node
    steps = _steps(site)
    codes = constant(node.inputs[0])
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    zeros, dtype = _zeros(site, _code_type(site))
    if site.spec.integer("block_size", 0):
        raise refused(
            site, "a scale per block of a weight", "quantise weights per channel or per tensor"
        )
    axis = site.spec.integer("axis", 1)
    if codes is None and maker is not None:  # rounded from floats, as torch exports it
        floats = constant(maker.inputs[0])
        if floats is None:
            raise refused(site, "a weight that is not constant", "use engine 'onnxruntime'")
        axis %= max(1, floats.ndim)
        low, high = _ends(dtype)
        rounded = np.rint(floats / _along(steps, axis, floats.ndim))
        codes = np.clip(rounded + _along(zeros, axis, floats.ndim), low, high)
    elif codes is None:
        raise refused(site, "a weight that is not constant", "use engine 'onnxruntime'")
    else:
        dtype = codes.dtype
        axis %= max(1, codes.ndim)
    return codes.astype(np.int32), steps, zeros, dtype, axis


def _along(array: NDArray[_Number], axis: int, rank: int) -> NDArray[_Number]:
    """One number per index of an axis, to spread over an array of that rank."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape([-1 if index == axis else 1 for index in range(rank)])


def dequantised(site: Site) -> Floats:
    """The constant that a ``DequantizeLinear`` node stands for."""
    codes, steps, zeros, _, axis = _stored(site)
    numbers = (codes - _along(zeros, axis, codes.ndim)).astype(np.float32)
    return numbers * _along(steps, axis, codes.ndim)


def weights_of(source: Coded, maker: Site, bias: Site | Floats, axis: int) -> Weights | str:
    """A layer's weights in codes, filters first; in words why they are not to be had so.

    Args:
        source: the layer's input.
        maker: the ``DequantizeLinear`` node of the weight.
        bias: that of the bias, or numbers.
        axis: of the weight's filters.
    """
    codes, steps, zeros, dtype, given = _stored(maker)
    if max(steps.size, zeros.size) > 1 and (given != axis or steps.size != codes.shape[axis]):
        return f"its weights {list(codes.shape)} have {steps.size} scales along axis {given}"
    codes = codes - _along(zeros, given, codes.ndim)
    if codes.min(initial=0) < -_HALF or codes.max(initial=0) >= _HALF:
        return f"its weights ({dtype}, zero point {zeros[0]}) are asymmetric, beyond 8 signed bits"
    codes = np.moveaxis(codes, axis, 0).astype(np.int8)
    each = np.broadcast_to(steps, (len(codes),))
    found, left = _biases(bias, np.float32(source.coding.step) * each, source.count)
    if not np.abs(found).max(initial=0) < 2**31:
        return "32 bits do not hold its bias in steps of its weights"
    return Weights(codes, each, found.astype(np.int32), left)


def _biases(bias: Site | Floats, scale: Floats, count: int) -> tuple[NDArray[np.float64], Floats]:
    """Biases in steps of their filters, and the rest; quantisers know of no sums of codes."""
    if isinstance(bias, Site):
        codes, steps, zeros, _, _ = _stored(bias)
        if np.allclose(steps, scale * count, rtol=1e-5, atol=0):  # as quantisers write them
            whole = (codes - zeros).reshape(-1).astype(np.float64) * count
            return whole, np.zeros(scale.shape, np.float32)
        bias = dequantised(bias)
    numbers = np.broadcast_to(bias.reshape(-1), scale.shape).astype(np.float64)
    steps = scale.astype(np.float64)
    whole = np.rint(numbers / steps)
    return whole, (numbers - whole * steps).astype(np.float32)


def is_dequantised(value: ir.Value | None) -> bool:
    """Whether a value is a constant that is stored in codes."""
    maker = None if value is None else value.producer()
    return maker is not None and is_quantiser(maker, DEQUANTIZE) and is_constant(value)
