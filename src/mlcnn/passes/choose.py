"""``choose``: layers of a method's own operators take the form that is best; exact."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import layer_name
from mlcnn.ops import method_of
from mlcnn.passes.base import Skipped
from mlcnn.passes.lowering import Found, Lowering

__all__ = ["Choose"]


@dataclass(frozen=True, slots=True)
class Choose(Lowering):
    """Give every operator that a method's structure pass wrote the form that is best.

    What stays as it is runs by the operator's body.
    """

    name: ClassVar[str] = "choose"

    def find(self, model: ir.Model) -> Iterator[Found | Skipped]:
        """Every node of an operator that a method declares."""
        for node in tuple(model.graph):
            method = method_of(node)
            if method is None or method.read is None:
                continue
            convolution = method.read(node)
            if isinstance(convolution, str):
                yield Skipped(self.name, layer_name(node), convolution)
            else:
                yield Found(convolution, None, (convolution.name,), method.forms)
