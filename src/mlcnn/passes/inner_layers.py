"""Convolutions that methods replace in a network that is to be trained: all but the first."""

from collections.abc import Iterable
from math import prod

import onnx_ir as ir

from mlcnn.graph import is_standard
from mlcnn.ops import Convolution, read_convolution
from mlcnn.workload import RECORD_KEY

__all__ = ["inner_convolution", "inner_convolutions"]


def inner_convolutions(model: ir.Model) -> Iterable[ir.Node]:
    """Convolutions of the main graph, in order, that are parts of no other layer."""
    return [
        node
        for node in model.graph
        if node.op_type == "Conv" and is_standard(node) and RECORD_KEY not in node.metadata_props
    ]


def inner_convolution(model: ir.Model, node: ir.Node) -> Convolution | str | None:
    """A dense convolution of more than one tap that does not read the network's input.

    Returns:
        The layer; why it is left alone; None where it has one tap, and nothing is to be said.
    """
    layer = read_convolution(node)
    if isinstance(layer, str):
        return layer
    if prod(layer.kernel) == 1:
        return None
    if node.inputs[0] in model.graph.inputs:
        return "it reads the images, of which every level counts"
    if layer.groups > 1:
        return f"it has {layer.groups} groups"
    if layer.bits is not None:
        return f"its weights are {layer.bits}-bit codes already"
    return layer
