"""One node as the module builders see it: attributes, constants, shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch

from mlcnn.errors import UnsupportedError
from mlcnn.graph import constant
from mlcnn.graph.operators import NodeSpec, tensor_from

__all__ = ["Site", "site_of"]

Sizes = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """A node that is to become a module.

    Attributes:
        node: the node.
        spec: its attributes.
    """

    node: ir.Node
    spec: NodeSpec

    def value(self, index: int) -> ir.Value | None:
        """Input ``index``; ``None`` where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def is_constant(self, index: int) -> bool:
        """Whether input ``index`` is given and known before the network runs."""
        return constant(self.value(index)) is not None

    def tensor(self, index: int) -> torch.Tensor | None:
        """A copy of a constant input; ``None`` where it is left out or computed."""
        value = self.value(index)
        if value is None or constant(value) is None:
            return None
        content = ir.convenience.get_const_tensor(value)
        return None if content is None else tensor_from(content)

    def sizes(self, index: int) -> Sizes | None:
        """Shape of input ``index``, ``None`` for dynamic sizes; ``None`` for an unknown rank."""
        return sizes_of(self.value(index))

    def rank(self, index: int) -> int:
        """Rank of input ``index``.

        Raises:
            UnsupportedError: where shape inference did not find it.
        """
        sizes = self.sizes(index)
        if sizes is None:
            msg = (
                f"{self.spec.where}: the rank of its input {index} is unknown; "
                "give the network's inputs a shape"
            )
            raise UnsupportedError(msg)
        return len(sizes)


def sizes_of(value: ir.Value | None) -> Sizes | None:
    """Shape of a value, ``None`` for each dynamic size; ``None`` for an unknown rank."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def site_of(node: ir.Node, opsets: Mapping[str, int]) -> Site:
    """The site of a node of a graph with the given opsets."""
    spec = NodeSpec(
        name=str(node.name),
        op_type=node.op_type,
        domain=node.domain,
        opset=opsets.get(node.domain, 0),
        attributes=dict(node.attributes),
        inputs=tuple(value is not None for value in node.inputs),
        outputs=tuple(bool(v.uses()) or v.is_graph_output() for v in node.outputs),
    )
    return Site(node, spec)
