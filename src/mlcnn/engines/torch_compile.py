"""Engine ``torch-compile``: PyTorch compiled by inductor, which needs a C++ compiler."""

import os
import warnings
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch._inductor import config as inductor

from mlcnn import nn
from mlcnn.engines.compilers import cxx_compiler
from mlcnn.engines.engine import Array, Arrays, Device, positive_threads
from mlcnn.engines.torch_eager import TorchSession, torch_device
from mlcnn.errors import UnsupportedError

__all__ = ["TorchCompile"]


class _Session(TorchSession):
    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once; the first run with a new shape compiles.

        Frozen weights are packed once and convolutions take their activation in. As an option of
        ``torch.compile`` the switch comes too late, after the weights were made arguments. On the
        CPU what calls the kernels is compiled too: Python would take a fifth of the time of
        GoogLeNet's single image, and twice as long to compile (measured).
        """
        with inductor.patch(freezing=True, cpp_wrapper=self._device is Device.CPU):
            return super().run(inputs)


@dataclass(frozen=True, slots=True)
class TorchCompile:
    """PyTorch compiled for the shapes of the first run; weights are constants.

    The first run with a new shape compiles, which takes seconds to minutes.
    """

    @property
    def name(self) -> str:
        """``torch-compile``."""
        return "torch-compile"

    def prepare(
        self, model: ir.Model, *, threads: int = 1, device: str = Device.CPU
    ) -> TorchSession:
        """Make a network ready to run; see ``Engine.prepare``."""
        found = torch_device(device)
        compiler = cxx_compiler()
        if found is Device.CPU and compiler is None:
            raise UnsupportedError(
                f"engine {self.name!r} needs a C++ compiler: install g++ or use engine 'torch'"
            )
        if found is Device.CPU and compiler is not None and len(compiler) > 1:
            raise UnsupportedError(  # inductor takes the whole text for a program's name
                f"engine {self.name!r} takes a C++ compiler without arguments, and CXX is "
                f"{os.environ.get('CXX')!r}: set CXX to the compiler alone, or unset it"
            )
        module = nn.to_module(model).eval().to(found.value)
        with warnings.catch_warnings():
            # The compiler's first import warns of its own use of TorchScript.
            warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
            compiled = torch.compile(module, dynamic=False)
        return _Session(compiled, model, positive_threads(threads), found, self.name)
