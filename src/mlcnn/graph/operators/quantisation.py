"""Rounding to codes and back."""

import torch
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator, torch_dtype

__all__ = ["OPERATORS"]


def _aligned(parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    """A scale or zero point per value of ``axis``, to broadcast against ``x``."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.reshape([-1 if index == axis % x.ndim else 1 for index in range(x.ndim)])


def _axis(spec: NodeSpec) -> int:
    if spec.integer("block_size", 0):
        raise spec.unsupported("a scale per block")
    return spec.integer("axis", 1)


def _quantize(spec: NodeSpec) -> Kernel:
    axis, wanted = _axis(spec), spec.integer("output_dtype", 0)

    def kernel(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        dtype = torch.uint8 if zero is None else zero.dtype
        if zero is None and wanted:
            dtype = torch_dtype(spec.data_type("output_dtype"), None, spec.where)
        if dtype.is_floating_point:
            raise spec.unsupported("rounding to floats")
        ends = torch.iinfo(dtype)
        steps = x / _aligned(scale, x, axis)
        offset = 0 if zero is None else _aligned(zero, x, axis).to(x.dtype)
        codes = (torch.round(steps) + offset).clamp(ends.min, ends.max)
        if not x.requires_grad:
            return codes.to(dtype)
        # Training passes straight through the rounding, and not where the value is cut off.
        through = (steps + offset).clamp(ends.min, ends.max)
        return through + (codes - through).detach()

    return kernel


def _dequantize(spec: NodeSpec) -> Kernel:
    axis = _axis(spec)

    def kernel(codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        numbers = codes.to(scale.dtype)
        if zero is not None:
            numbers = numbers - _aligned(zero, codes, axis).to(scale.dtype)
        return numbers * _aligned(scale, codes, axis)

    return kernel


OPERATORS: dict[str, Operator] = {
    "QuantizeLinear": Operator(_quantize),
    "DequantizeLinear": Operator(_dequantize),
}
