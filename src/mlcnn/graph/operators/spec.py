"""What an operator is: a function that builds a torch kernel from a node's attributes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from mlcnn.errors import UnsupportedError
from mlcnn.graph.names import STANDARD

__all__ = ["Kernel", "NodeSpec", "Operator", "python_value", "tensor_from", "torch_dtype"]

Kernel = Callable[..., Tensor | tuple[Tensor, ...]]
"""Takes the node's inputs in order (``None`` where one is left out), returns its outputs."""

_DTYPES: dict[ir.DataType, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.BOOL: torch.bool,
}


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node as its kernel sees it, attributes bound.

    Attributes:
        name: the node's name, for messages.
        op_type: the operator.
        domain: the operator's domain, empty for standard ONNX.
        opset: version of that domain.
        attributes: by name; none is a reference.
        inputs: whether each input is given.
        outputs: whether each output is used.
        float_dtype: the type that every float type stands for; ``None`` keeps each as it is.
    """

    name: str
    op_type: str
    opset: int
    domain: str = ""
    attributes: Mapping[str, ir.Attr] = field(default_factory=dict[str, ir.Attr])
    inputs: tuple[bool, ...] = ()
    outputs: tuple[bool, ...] = (True,)
    float_dtype: torch.dtype | None = None

    @property
    def where(self) -> str:
        """How messages name this node."""
        return f"node {self.name!r} ({self.op_type})"

    @property
    def is_standard(self) -> bool:
        """Whether the node is one of ONNX's own operators."""
        return self.domain in STANDARD

    def integer(self, name: str, default: int) -> int:
        """An ``int`` attribute."""
        attribute = self.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An ``ints`` attribute, ``None`` where it is absent."""
        attribute = self.attributes.get(name)
        return None if attribute is None else tuple(attribute.as_ints())

    def real(self, name: str, default: float) -> float:
        """A ``float`` attribute."""
        attribute = self.attributes.get(name)
        return default if attribute is None else attribute.as_float()

    def text(self, name: str, default: str) -> str:
        """A ``string`` attribute."""
        attribute = self.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    def tensor(self, name: str) -> Tensor | None:
        """A ``tensor`` attribute, ``None`` where it is absent."""
        attribute = self.attributes.get(name)
        return None if attribute is None else tensor_from(attribute.as_tensor(), self.float_dtype)

    def data_type(self, name: str) -> ir.DataType:
        """A data type attribute (``to``, ``dtype``); FLOAT where it is absent."""
        return ir.DataType(self.integer(name, ir.DataType.FLOAT))

    def has_input(self, index: int) -> bool:
        """Whether input ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index]

    def require_single_output(self) -> None:
        """Refuse a node whose second or later output is used."""
        if any(self.outputs[1:]):
            msg = f"{self.where}: only its first output can be computed, but another one is used"
            raise UnsupportedError(msg)

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for an attribute value that has no kernel."""
        return UnsupportedError(f"{self.where}: {what} is not supported")


@dataclass(frozen=True, slots=True)
class Operator:
    """An ONNX operator.

    Attributes:
        build: makes the kernel of one node.
        python_inputs: indices of the inputs that the kernel takes as Python numbers, not as
            tensors: shapes, axes, bounds. See ``python_value``.
        returns_tuple: whether the kernel returns a tuple, not one tensor.
    """

    build: Callable[[NodeSpec], Kernel]
    python_inputs: frozenset[int] = frozenset()
    returns_tuple: bool = False


def torch_dtype(dtype: ir.DataType, float_dtype: torch.dtype | None, where: str) -> torch.dtype:
    """The torch type of an ONNX type; every float type gives ``float_dtype`` if that is set.

    Raises:
        UnsupportedError: for strings, complex numbers and types below one byte.
    """
    found = _DTYPES.get(dtype)
    if found is None:
        msg = f"{where}: element type {dtype.name} is not supported; use a float or integer type"
        raise UnsupportedError(msg)
    return float_dtype if float_dtype is not None and found.is_floating_point else found


def tensor_from(value: ir.TensorProtocol, float_dtype: torch.dtype | None = None) -> Tensor:
    """A torch copy of a constant, floats in ``float_dtype`` if that is set."""
    dtype = torch_dtype(value.dtype, float_dtype, f"constant {value.name!r}")
    array = value.numpy()
    if array.dtype == ml_dtypes.bfloat16:
        array = array.astype(np.float32)
    return torch.tensor(np.asarray(array, order="C"), dtype=dtype)


def python_value(tensor: Tensor) -> int | float | tuple[int | float, ...]:
    """A number for a scalar, a flat tuple of numbers for anything else."""
    if tensor.ndim == 0:
        return cast("int | float", tensor.item())
    return tuple(tensor.reshape(-1).tolist())
