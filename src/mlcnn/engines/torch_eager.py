"""Engine ``torch``: PyTorch as it runs by default, operator by operator."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from mlcnn import nn
from mlcnn.engines.arrays import Signature, check_inputs, signatures
from mlcnn.engines.engine import Array, Arrays, Device, device_of, positive_threads
from mlcnn.engines.package import shortened
from mlcnn.errors import InputError, UnsupportedError

__all__ = ["TorchEager", "TorchSession", "torch_device", "torch_threads"]

Outputs = torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]


@contextmanager
def torch_threads(threads: int) -> Generator[None]:
    """Let torch compute with so many threads inside; a change costs time, no change does not."""
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_device(device: str) -> Device:
    """The device of that name, if torch has it here.

    Raises:
        InputError: an unknown device, or ``cuda`` without one.
    """
    found = device_of(device)
    if found is Device.CUDA and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no CUDA device here; use device 'cpu'")
    return found


class TorchSession:
    """A module that stands for a network."""

    def __init__(
        self,
        module: Callable[..., Outputs],
        model: ir.Model,
        threads: int,
        device: Device,
        engine: str,
    ) -> None:
        """Wrap a module.

        Args:
            module: takes the inputs in the network's order.
            model: the network, for names, types and shapes.
            threads: threads to compute with.
            device: where the module is.
            engine: name for messages.
        """
        self._module, self._threads, self._device, self._engine = module, threads, device, engine
        self._inputs: tuple[Signature, ...] = signatures(model)
        self._outputs = tuple(value.name or "" for value in model.graph.outputs)

    def _tensors(self, inputs: Arrays) -> list[torch.Tensor]:
        check_inputs(self._inputs, inputs)
        arrays = (inputs[signature.name] for signature in self._inputs)
        return [_tensor(array).to(self._device.value) for array in arrays]

    def _call(self, tensors: list[torch.Tensor]) -> Outputs:
        with torch_threads(self._threads), torch.inference_mode():
            return self._module(*tensors)

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once; see ``Session.run``."""
        tensors = self._tensors(inputs)
        try:
            result = self._call(tensors)
        except Exception as error:
            raise UnsupportedError(f"{self._engine}: {shortened(error)}") from error
        values = [result] if isinstance(result, torch.Tensor) else list(result)
        arrays = (_array(value) for value in values)
        return dict(zip(self._outputs, arrays, strict=True))

    def runner(self, inputs: Arrays) -> Callable[[], object]:
        """A callable for timing; see ``Session.runner``."""
        self.run(inputs)  # compiles, and tells what is wrong with the inputs, if something is
        tensors = self._tensors(inputs)
        if self._device is Device.CPU:
            return lambda: self._call(tensors)

        def run_and_wait() -> None:
            self._call(tensors)
            torch.cuda.synchronize()

        return run_and_wait


def _tensor(array: Array) -> torch.Tensor:
    """A tensor of the same memory; numpy's bfloat16 is foreign to torch."""
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ir.DataType.BFLOAT16.numpy())
    return tensor.numpy()


@dataclass(frozen=True, slots=True)
class TorchEager:
    """PyTorch, eager, in inference mode."""

    @property
    def name(self) -> str:
        """``torch``."""
        return "torch"

    def prepare(
        self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU
    ) -> TorchSession:
        """Make a network ready to run; see ``Engine.prepare``."""
        found = torch_device(device)
        module = nn.to_module(model).eval().to(found.value)
        return TorchSession(module, model, positive_threads(threads), found, self.name)
