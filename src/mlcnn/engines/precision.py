"""In which numbers an engine computes a network: float32, or the integers of a quantised one."""

from collections.abc import Sequence

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import is_quantised

__all__ = ["EITHER", "PRECISIONS", "precision_of", "with_precision"]

PRECISIONS = ("fp32", "int8")
# Of a quantised network these compute in float32 what its codes stand for.
_FLOAT = frozenset({"torch", "torch-compile"})
EITHER = frozenset({"native"})
"""Engines that compute a quantised network in its integers or in float32."""
_TYPES = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16", ir.DataType.DOUBLE: "fp64"}


def precision_of(engine: str, model: ir.Model, precision: str | None = None) -> str:
    """In which numbers an engine computes a network: ``fp32``, ``int8``, ``fp16``, ...

    Args:
        engine: its name, with or without an option behind a colon.
        model: the network.
        precision: what was asked for; by default what the network says.
    """
    name = engine.partition(":")[0]
    if is_quantised(model):
        in_float = name in _FLOAT or (name in EITHER and precision == "fp32")
        return "fp32" if in_float else "int8"
    inputs = [value.dtype for value in model.graph.inputs if not value.is_initializer()]
    return next(
        (_TYPES[dtype] for dtype in inputs if dtype is not None and dtype in _TYPES), "fp32"
    )


def with_precision(
    model: ir.Model, engines: Sequence[str], precision: str | None, *, named: bool
) -> tuple[str, ...]:
    """The engines that compute a network in a precision.

    Args:
        model: the network.
        engines: their names.
        precision: one of ``PRECISIONS``; None for any.
        named: whether the engines were asked for: then one that does not is an error.

    Raises:
        InputError: there is no such precision, the network has another one, or an engine that was
            asked for computes it in another one.
    """
    if precision is None:
        return tuple(engines)
    if precision not in PRECISIONS:
        raise InputError(
            f"--precision {precision}: unknown (known precisions: {', '.join(PRECISIONS)})"
        )
    if precision == "int8" and not is_quantised(model):
        raise InputError(
            "--precision int8: the network is not quantised (it has no QuantizeLinear), and "
            "quantising it needs calibration data: make a quantised file with `mlcnn quantize`, "
            "or with quantize_static of onnxruntime.quantization in QDQ format, and give that"
        )
    found = {name: precision_of(name, model, precision) for name in engines}
    others = {name: other for name, other in found.items() if other != precision}
    if others and (named or len(others) == len(found)):
        name, other = next(iter(others.items()))
        remedy = (
            f"name one that does, as --engine {'native' if precision == 'fp32' else 'onnxruntime'}"
            if is_quantised(model)
            else "give a network in float32"
        )
        raise InputError(
            f"--precision {precision}: engine {name} computes this network in {other}; {remedy}"
        )
    return tuple(name for name in engines if name not in others)
