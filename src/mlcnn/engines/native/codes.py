"""What quantisers say: scales, zero points and the codes of weights, or why they are refused.

A code stands for ``step * (code - zero)``. Codes of activations are kept as u8; those of a signed
type are 128 higher here than in the network.
"""

from dataclasses import dataclass, replace
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
    "Weights",
    "coding_of",
    "dequantised",
    "is_dequantised",
    "refused",
    "weights_of",
    "with_whole_biases",
]

Integers = NDArray[np.int32]
_Number = TypeVar("_Number", np.int32, np.float32)

_BITS = 8


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
        ends = int(max(self.low, self.count * low)), int(min(self.high, self.count * high))
        return (ends[0] + zero, ends[1] + zero) if self.count == 1 else ends


@dataclass(frozen=True, slots=True)
class Weights:
    """Constant weights in s8 codes, symmetric.

    Attributes:
        codes: (filters, ...).
        steps: of each filter.
        biases: of each filter, in steps of the filter's and the input's.
        shifts: those that are no whole steps, in floats.
    """

    codes: Codes
    steps: Floats
    biases: Integers
    shifts: Floats


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
    return zero.reshape(-1).astype(np.int32), zero.dtype


def coding_of(site: Site) -> Coding:
    """What a quantiser of an activation says.

    Raises:
        UnsupportedError: not one constant scale, positive and finite, and u8 or s8 codes.
    """
    steps, (zeros, dtype) = _steps(site), _zeros(site, _code_type(site))
    if dtype not in {np.dtype(np.uint8), np.dtype(np.int8)}:
        raise refused(
            site, f"activations in {dtype} codes; 8 bits are supported",
            "quantise to QUInt8 or QInt8, or use engine 'onnxruntime'",
        )  # fmt: skip
    if steps.size != 1 or zeros.size != 1:
        raise refused(
            site, f"an activation with {steps.size} scales; one for all of it is supported",
            "quantise activations per tensor, or use engine 'onnxruntime'",
        )  # fmt: skip
    return Coding(float(steps[0]), int(zeros[0]) + 128 * (dtype == np.int8))


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
        low, high = (0, 255) if dtype == np.uint8 else (-128, 127)
        rounded = np.rint(floats / _along(steps, axis, floats.ndim))
        codes = np.clip(rounded + _along(zeros, axis, floats.ndim), low, high)
    elif codes is None:
        raise refused(site, "a weight that is not constant", "use engine 'onnxruntime'")
    else:
        dtype = codes.dtype
        axis %= max(1, codes.ndim)
    if dtype not in {np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int32)}:
        raise refused(
            site, f"weights in {dtype} codes; 8 bits are supported",
            "quantise weights to QInt8, or use engine 'onnxruntime'",
        )  # fmt: skip
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


def weights_of(site: Site, source: Coded, maker: Site, bias: Site | Floats, axis: int) -> Weights:
    """A layer's weights in codes, filters first.

    Args:
        site: the layer.
        source: its input.
        maker: the ``DequantizeLinear`` node of the weight.
        bias: that of the bias, or numbers.
        axis: of the weight's filters.

    Raises:
        UnsupportedError: not s8 codes with zero points of 0 and a scale, or one per filter.
    """
    codes, steps, zeros, dtype, given = _stored(maker)
    if dtype != np.int8 or zeros.any():
        raise refused(
            maker, f"asymmetric weights ({dtype}, zero point {zeros[0]}) of {site.spec.where}",
            "quantise weights to QInt8 with WeightSymmetric, or use engine 'onnxruntime'",
        )  # fmt: skip
    if steps.size > 1 and (given != axis or steps.size != codes.shape[axis]):
        raise refused(
            maker, f"{steps.size} scales along axis {given} of a weight {list(codes.shape)}",
            f"quantise weights per tensor or along axis {axis}",
        )  # fmt: skip
    codes = np.moveaxis(codes, axis, 0).astype(np.int8)
    each = np.broadcast_to(steps, (len(codes),))
    found = Weights(codes, each, np.zeros(len(codes), np.int32), np.zeros(len(codes), np.float32))
    if not isinstance(bias, Site):
        return replace(found, shifts=np.broadcast_to(bias.reshape(-1), each.shape))
    stored, steps, zeros, _, _ = _stored(bias)
    # As quantisers write them; they know of no sums of that many codes.
    scale = np.float32(source.coding.step) * each
    if not np.allclose(steps, scale * source.count, rtol=1e-5, atol=0):
        return replace(found, shifts=np.broadcast_to(dequantised(bias).reshape(-1), each.shape))
    whole = (stored - zeros).reshape(-1).astype(np.float64) * source.count
    return replace(found, biases=_bounded(site, np.broadcast_to(whole, each.shape)))


def with_whole_biases(site: Site, source: Coded, weights: Weights) -> Weights:
    """Weights with all their biases in steps of the filter's and the input's.

    Raises:
        UnsupportedError: 32 bits do not hold them.
    """
    scale = (np.float32(source.coding.step) * weights.steps).astype(np.float64)
    whole = weights.biases.astype(np.float64) + np.rint(weights.shifts / scale)
    return replace(weights, biases=_bounded(site, whole), shifts=np.zeros_like(weights.shifts))


def _bounded(site: Site, biases: NDArray[np.float64]) -> Integers:
    if not np.abs(biases).max(initial=0) < 2**31:
        raise refused(
            site, "a bias that 32 bits do not hold in steps of its weights",
            "quantise weights per tensor, or use engine 'onnxruntime'",
        )  # fmt: skip
    return biases.astype(np.int32)


def is_dequantised(value: ir.Value | None) -> bool:
    """Whether a value is a constant that is stored in codes."""
    maker = None if value is None else value.producer()
    return maker is not None and is_quantiser(maker, DEQUANTIZE) and is_constant(value)
