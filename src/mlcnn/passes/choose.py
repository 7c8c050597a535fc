"""``choose``: layers of a method's own operators take the form that is best; exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.ops import method_of
from mlcnn.passes.lowering import Found, Lowering

__all__ = ["Choose"]


@dataclass(frozen=True, slots=True)
class Choose(Lowering):
    """Give every operator that a method's structure pass wrote the form that is best.

    What stays as it is runs by the operator's body.
    """

    name: ClassVar[str] = "choose"

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """All of the main graph."""
        return model.graph

    def find(self, node: ir.Node) -> Found | str | None:
        """A node of an operator that a method declares."""
        method = method_of(node)
        if method is None or method.read is None:
            return None
        convolution = method.read(node)
        if isinstance(convolution, str):
            return convolution
        return Found(convolution, None, (convolution.name,), method.forms)
