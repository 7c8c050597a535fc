"""Engine ``openvino``: the extra ``mlcnn[openvino]``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
import openvino as ov

from mlcnn.engines.arrays import Signature, check_inputs, signatures
from mlcnn.engines.engine import Array, Arrays, Device, device_of, positive_threads
from mlcnn.engines.package import Packaged, shortened
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import inline, pad_codes

__all__ = ["OpenVino"]


class _Runner:
    """Runs a request and keeps the arrays that it reads."""

    def __init__(self, request: ov.InferRequest, arrays: list[Array]) -> None:
        self._infer, self._arrays = request.infer, arrays

    def __call__(self) -> object:
        return self._infer(share_outputs=True)


class _Session:
    """A compiled network.

    Attributes:
        precision: that floating-point layers are computed in, as OpenVINO tells it: ``f32``.
    """

    def __init__(
        self,
        compiled: ov.CompiledModel,
        packaged: Packaged,
        inputs: tuple[Signature, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self._compiled, self._packaged = compiled, packaged
        self._inputs, self._outputs = inputs, outputs
        self._idle: list[ov.InferRequest] = []  # one for each run at the same time
        told = compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision: str = cast("ov.Type", told).get_type_name()

    def _arrays(self, inputs: Arrays) -> list[Array]:
        check_inputs(self._inputs, inputs)
        return [np.ascontiguousarray(inputs[signature.name]) for signature in self._inputs]

    def _request(self, arrays: list[Array]) -> ov.InferRequest:
        """A request that reads ``arrays`` in place: it does not keep them alive."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, ov.Tensor(array, shared_memory=True))
        return request

    def run(self, inputs: Arrays) -> dict[str, Array]:
        arrays = self._arrays(inputs)
        try:
            request = self._request(arrays)
            request.infer()
        except RuntimeError as error:
            raise UnsupportedError(f"openvino: {shortened(error)}") from error
        found = {
            name: request.get_output_tensor(index).data.copy()
            for index, name in enumerate(self._outputs)
        }
        self._idle.append(request)
        return found

    def runner(self, inputs: Arrays) -> Callable[[], object]:
        self.run(inputs)  # tells what is wrong with the inputs, if something is
        return _Runner(self._request(arrays := self._arrays(inputs)), arrays)


@dataclass(frozen=True, slots=True)
class OpenVino:
    """OpenVINO on the CPU, tuned for latency, in the precision of the network."""

    @property
    def name(self) -> str:
        """``openvino``."""
        return "openvino"

    def prepare(self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU) -> _Session:
        """Make a network ready to run; see ``Engine.prepare``."""
        if device_of(device) is not Device.CPU:
            raise InputError(f"openvino runs on device 'cpu' only, got {device!r}")
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": positive_threads(threads),
            "NUM_STREAMS": 1,
            # On CPUs with AMX it would compute in bfloat16 unasked.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        # It knows no functions, and pads the mean of codes wrongly.
        packaged = Packaged(pad_codes(inline(model, foreign=True)))
        core = ov.Core()
        try:
            compiled = core.compile_model(core.read_model(packaged.source), "CPU", config)
        except RuntimeError as error:
            raise UnsupportedError(
                f"openvino cannot run this network: {shortened(error)}"
            ) from error
        outputs = tuple(value.name or "" for value in model.graph.outputs)
        return _Session(compiled, packaged, signatures(model), outputs)
