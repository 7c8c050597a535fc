"""Sessions that take and give torch tensors in place, for several threads at once."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from mlcnn.engines.arrays import signatures
from mlcnn.engines.engine import Array, Session
from mlcnn.errors import InputError

__all__ = ["OnTensors", "array_of", "tensor_of"]

_CPU = torch.device("cpu")


class _Calls(Protocol):
    """A network for inputs of fixed shapes; see the engine ``native``."""

    outputs: tuple[tuple[int, ...], ...]

    def __call__(self, addresses: Sequence[int]) -> None: ...


@runtime_checkable
class _Addressed(Protocol):
    """A session that reads and writes float32 where it is told to."""

    def calls(self, shapes: tuple[tuple[int, ...], ...]) -> _Calls: ...


def tensor_of(array: Array) -> Tensor:
    """A tensor of the same memory; numpy's bfloat16 is foreign to torch."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def array_of(tensor: Tensor) -> Array:
    """An array of the same memory, where it lies there without gaps."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ir.DataType.BFLOAT16.numpy())
    return tensor.numpy()


class OnTensors:
    """A session on tensors of the CPU.

    Nothing is copied where a tensor lies in memory without gaps, rows behind rows; channels last
    are put in order first.
    """

    def __init__(self, session: Session, model: ir.Model) -> None:
        """Wrap a session.

        Args:
            session: may be run by several threads at once.
            model: the network that it runs, for the order of its inputs and outputs.
        """
        self._inputs = tuple(signature.name for signature in signatures(model))
        self._outputs = tuple(value.name or "" for value in model.graph.outputs)
        self._session = session
        self._dtypes = tuple(
            None if value.dtype is None else value.dtype.numpy() for value in model.graph.outputs
        )
        dtypes = *(signature.dtype for signature in signatures(model)), *self._dtypes
        floats = all(dtype == np.float32 for dtype in dtypes)
        self._run: Callable[[Sequence[Tensor]], list[Tensor]] = self._by_name
        if floats and isinstance(session, _Addressed):
            self._find, self._run = session.calls, self._in_place

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Run once.

        Args:
            tensors: in the order of the network's inputs.

        Returns:
            The outputs in order: new tensors, without gradients.

        Raises:
            InputError: a tensor that is not on the CPU, or of a type that the network does not
                take.
            UnsupportedError: the engine cannot run the network on these.
        """
        for tensor in tensors:
            if not tensor.is_cpu:
                raise InputError(
                    f"an input is on device {str(tensor.device)!r}, and the network runs on the "
                    "CPU: give input.cpu()"
                )
        return self._run(tensors)

    def _in_place(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        for tensor in tensors:
            if tensor.dtype is not torch.float32:
                return self._by_name(tensors)  # which says what is wrong
        calls = self._find(tuple([tensor.shape for tensor in tensors]))
        given = [tensor.contiguous() for tensor in tensors]
        made = [torch.empty(shape, dtype=torch.float32, device=_CPU) for shape in calls.outputs]
        calls([tensor.data_ptr() for tensor in (*given, *made)])
        return made

    def _by_name(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        arrays = map(array_of, tensors)
        found = self._session.run(dict(zip(self._inputs, arrays, strict=True)))
        # The engine ``native`` knows floats alone: what is true is 1 there.
        made = (
            found[name] if dtype is None else found[name].astype(dtype, copy=False)
            for name, dtype in zip(self._outputs, self._dtypes, strict=True)
        )  # fmt: skip
        return list(map(tensor_of, made))
