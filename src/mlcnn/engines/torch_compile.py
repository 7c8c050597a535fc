"""Engine ``torch-compile``: PyTorch compiled by inductor, which needs a C++ compiler."""

import shutil
from dataclasses import dataclass

import onnx_ir as ir
import torch

from mlcnn import nn
from mlcnn.engines.engine import Device, positive_threads
from mlcnn.engines.torch_eager import TorchSession, torch_device
from mlcnn.errors import UnsupportedError

__all__ = ["TorchCompile"]


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
        if found is Device.CPU and not any(map(shutil.which, ("g++", "c++", "clang++"))):
            raise UnsupportedError(
                f"engine {self.name!r} needs a C++ compiler: install g++ or use engine 'torch'"
            )
        module = nn.to_module(model).eval().to(found.value)
        # Frozen weights let inductor choose their layout once.
        compiled = torch.compile(module, dynamic=False, options={"freezing": True})
        return TorchSession(compiled, model, positive_threads(threads), found, self.name)
