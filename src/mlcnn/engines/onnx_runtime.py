"""Engine ``onnxruntime``, on any of its execution providers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from mlcnn.engines.arrays import Signature, check_inputs, signatures
from mlcnn.engines.engine import Array, Arrays, Device, device_of, positive_threads
from mlcnn.engines.package import Packaged, shortened
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["OnnxRuntime"]

_CPU = "CPUExecutionProvider"
_PROVIDERS = {Device.CPU: _CPU, Device.CUDA: "CUDAExecutionProvider"}
_FATAL = 4  # log severity: what goes wrong is raised, and needs no second copy on standard error


class _Runner:
    """Runs on bound memory, which saves a quarter of the overhead of ``run`` (measured).

    Attributes:
        binding: holds the outputs of the last run.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Arrays,
        outputs: tuple[str, ...],
        where: str,
    ) -> None:
        self.binding = session.io_binding()
        self._run, self._waits = session.run_with_iobinding, where != "cpu"
        # A value reads its array in place and alone keeps it alive: the binding does not.
        self._values = {
            name: ort.OrtValue.ortvalue_from_numpy(array, where, 0)
            for name, array in _fed(inputs).items()
        }
        for name, value in self._values.items():
            self.binding.bind_ortvalue_input(name, value)
        for name in outputs:
            self.binding.bind_output(name, where)

    def __call__(self) -> None:
        self._run(self.binding)
        if self._waits:
            self.binding.synchronize_outputs()


class _Session:
    def __init__(
        self,
        session: ort.InferenceSession,
        packaged: Packaged,
        inputs: tuple[Signature, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self._session, self._packaged = session, packaged
        self._inputs, self._outputs = inputs, outputs

    def run(self, inputs: Arrays) -> dict[str, Array]:
        check_inputs(self._inputs, inputs)
        try:
            results = self._session.run(list(self._outputs), _fed(inputs))
        except Exception as error:
            raise UnsupportedError(f"onnxruntime: {shortened(error)}") from error
        return {
            name: _tensor(name, result) for name, result in zip(self._outputs, results, strict=True)
        }

    def runner(self, inputs: Arrays) -> Callable[[], object]:
        self.run(inputs)  # tells what is wrong with the inputs, if something is
        where = "cpu" if self._session.get_providers()[0] == _CPU else "cuda"
        return _Runner(self._session, inputs, self._outputs, where)


def _tensor(name: str, result: object) -> Array:
    if isinstance(result, np.ndarray):
        return cast("Array", result)
    raise UnsupportedError(
        f"onnxruntime: output {name!r} is a {type(result).__name__}; only tensors can be read"
    )


def _fed(inputs: Arrays) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array) for name, array in inputs.items()}


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Idle threads that spin would take the cores from whatever is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """ONNX Runtime with all graph optimisations.

    Attributes:
        provider: the execution provider; by default the one of the device.
    """

    provider: str | None = None

    def __post_init__(self) -> None:
        if self.provider is not None and self.provider not in ort.get_available_providers():
            known = ort.get_available_providers()
            hint = did_you_mean(self.provider, known)
            raise InputError(
                f"onnxruntime has no execution provider {self.provider!r} here{hint} (it has "
                f"{', '.join(known)})"
            )

    @property
    def name(self) -> str:
        """``onnxruntime``, with the provider if one was chosen."""
        return "onnxruntime" if self.provider is None else f"onnxruntime:{self.provider}"

    def _provider(self, device: Device) -> str:
        provider = self.provider or _PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise InputError(
                f"device {device.value!r}: this onnxruntime has no {provider} (it has "
                f"{', '.join(ort.get_available_providers())}); install onnxruntime-gpu or use "
                "device 'cpu'"
            )
        return provider

    def prepare(self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU) -> _Session:
        """Make a network ready to run; see ``Engine.prepare``."""
        provider = self._provider(device_of(device))
        packaged = Packaged(model)
        options = _options(positive_threads(threads))
        try:
            session = ort.InferenceSession(
                packaged.source, options, providers=list(dict.fromkeys([provider, _CPU]))
            )
        except Exception as error:
            raise UnsupportedError(
                f"onnxruntime cannot run this network: {shortened(error)}"
            ) from error
        if session.get_providers()[0] != provider:
            raise InputError(
                f"onnxruntime could not start {provider} (a driver or library is missing); use "
                "device 'cpu'"
            )
        outputs = tuple(value.name or "" for value in model.graph.outputs)
        return _Session(session, packaged, signatures(model), outputs)
