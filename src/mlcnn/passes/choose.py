"""``choose``: layers of a method's own operators take the form that is best; exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import extract
from mlcnn.ops import method_of
from mlcnn.passes.choice import Choice
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

    def against(self, before: ir.Model, after: ir.Model, output: str) -> Choice | None:
        """The form of a layer that got a structure, or ``keep`` for the layer as it was before.

        Args:
            before: the network without the structure.
            after: the network with it.
            output: name of the value that the layer gives, in both.

        Returns:
            None where there is no operator that has forms.
        """
        nodes = (n for n in after.graph if output in {value.name for value in n.outputs})
        found = next(map(self.find, nodes), None)
        if not isinstance(found, Found) or not found.candidates:
            return None
        site = self._alone(after, found)
        inputs, outputs = (
            [value.name or "" for value in values]
            for values in (site.graph.inputs, site.graph.outputs)
        )
        return self._choose(site, found, extract(before, inputs, outputs))

    def find(self, node: ir.Node) -> Found | str | None:
        """A node of an operator that a method declares."""
        method = method_of(node)
        if method is None or method.read is None:
            return None
        convolution = method.read(node)
        if isinstance(convolution, str):
            return convolution
        return Found(convolution, None, (convolution.name,), method.forms)
