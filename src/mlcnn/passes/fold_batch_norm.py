"""``fold-batch-norm``: a batch norm in inference becomes part of the layer before it; exact.

gamma * (W x + b - mean) / sqrt(var + eps) + beta = (a W) x + (a (b - mean) + beta),
a = gamma / sqrt(var + eps), one value per output channel
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.graph import code_bits, constant, is_standard, layer_name
from mlcnn.ops import Emitter
from mlcnn.passes.base import Change
from mlcnn.passes.rewriting import copy_node, install, opset_of
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.workload import DENSE, Record, read_record

__all__ = ["FoldBatchNorm"]

_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm"})


def _layer_before(norm: ir.Node) -> ir.Node | str:
    """The layer that a batch norm becomes part of, or why it becomes part of none."""
    value = norm.inputs[0]
    node = None if value is None else value.producer()
    training = norm.attributes.get("training_mode")
    if training is not None and training.as_int():
        return "the batch norm is in training mode"
    record = None if node is None else read_record(node)
    if isinstance(record, Record) and record.weights != DENSE:
        return (
            f"a factor per output channel would destroy its weights' structure ({record.weights})"
        )
    if node is None or node.op_type not in _OPERATORS or not is_standard(node):
        return "no convolution or dense layer stands directly before it"
    if value is None or value.is_graph_output() or len(value.uses()) > 1:
        return f"the output of {layer_name(node)} is used elsewhere too"
    bits = code_bits(node.inputs[1])
    if bits is not None:
        return f"the weights are {bits}-bit codes, and a factor would make floats of them"
    if any(constant(v) is None for v in (*norm.inputs[1:], *node.inputs[1:]) if v is not None):
        return "weights or statistics are not constants"
    if node.op_type == "Gemm" and any(
        node.attributes[name].as_float() != 1.0
        for name in ("alpha", "beta")
        if name in node.attributes
    ):
        return "the dense layer scales its product"
    return node


def _array(value: ir.Value | None) -> np.ndarray:
    array = constant(value)
    if array is None:
        raise ValueError("not a constant")
    return array


def _scaled(node: ir.Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weight with every output channel multiplied by its factor."""
    if node.op_type == "Conv":
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op_type == "Gemm":
        transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
        return weight * (factor[:, None] if transposed else factor)
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    # ConvTranspose weights are (channels, filters / groups, ...): filters run within groups.
    per_group = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    shape = (groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    return (per_group * factor.reshape(shape)).reshape(weight.shape)


def _filters_axis(node: ir.Node) -> int | None:
    """The axis of the weight that has one row per output channel; None where groups share it."""
    if node.op_type == "Gemm":
        transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
        return 0 if transposed else 1
    return 0 if node.op_type == "Conv" else None


def _folded(norm: ir.Node, node: ir.Node, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (_array(value).astype(np.float64) for value in norm.inputs[1:5])
    factor = gamma / np.sqrt(variance + epsilon)
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = _array(node.inputs[2]).astype(np.float64) if has_bias else np.zeros_like(mean)
    weight = _scaled(node, _array(node.inputs[1]).astype(np.float64), factor)
    return weight, factor * (bias - mean) + beta


@dataclass(frozen=True, slots=True)
class FoldBatchNorm(SitePass):
    """Fold batch norms into the convolution or dense layer directly before them.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "fold-batch-norm"
    exact: ClassVar[bool] = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def nodes(self, model: ir.Model) -> Iterator[ir.Node]:
        """The batch norms."""
        return (n for n in model.graph if n.op_type == "BatchNormalization" and is_standard(n))

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str:
        """A batch norm with a layer directly before it."""
        layer = _layer_before(node)
        if isinstance(layer, str):
            return layer
        sites = (layer_name(layer), layer_name(node))
        fold = partial(self._fold, model, node, layer, sites)
        return Candidate(sites, sites[1], fold, through=layer.outputs[0].name)

    def _fold(
        self, model: ir.Model, norm: ir.Node, node: ir.Node, sites: tuple[str, str]
    ) -> Change | str:
        epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
        emitter = Emitter(
            opset_of(model),
            _array(node.inputs[1]).dtype,
            layer_name(node),
            dict(node.metadata_props),
        )
        weight, bias = _folded(norm, node, epsilon)
        values = [
            emitter.weight(weight, "weight", filters=_filters_axis(node)),
            emitter.weight(bias, "bias"),
        ]
        if emitter.imprecise is not None:
            return f"folded, {emitter.imprecise}"
        source, output = node.inputs[0], norm.outputs[0]
        change = Change(self.name, sites, True, inputs=names(source), outputs=names(output))
        folded = copy_node(node, [source, *values])
        folded.name = node.name or layer_name(node)
        emitter.nodes.append(folded)
        install(model, emitter, output, folded.outputs[0])
        return change
