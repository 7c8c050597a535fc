"""Networks from ``.pt2`` files."""

from pathlib import Path

import onnx_ir as ir
import torch

from mlcnn.graph.torch_export import from_program

__all__ = ["load_program"]


def load_program(path: str | Path) -> ir.Model:
    """A network from a ``.pt2`` file."""
    return from_program(torch.export.load(path), name=Path(path).stem)
