"""``fold-batch-norm``: a batch norm in inference becomes part of the layer before it; exact.

A layer that compares inputs with each other gives the same without a batch norm in front, so that
goes, too; where it multiplies by a negative number, the layer's comparisons are turned around.

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
from mlcnn.ops import Emitter, method_of
from mlcnn.passes.base import Change
from mlcnn.passes.rewriting import copy_node, install, opset_of
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.workload import DENSE, Record, read_record

__all__ = ["FoldBatchNorm"]

_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm"})


def _weight_input(node: ir.Node | None) -> int | None:
    """Which input has rows that a factor can be multiplied into; the bias is the next one."""
    if node is None:
        return None
    record = read_record(node)
    structured = isinstance(record, Record) and record.weights != DENSE
    if is_standard(node):
        return 1 if node.op_type in _OPERATORS and not structured else None
    method = method_of(node)
    return None if method is None else method.row_input


def _layer_before(norm: ir.Node) -> ir.Node | str:
    """The layer that a batch norm becomes part of, or why it becomes part of none."""
    value = norm.inputs[0]
    node = None if value is None else value.producer()
    training = norm.attributes.get("training_mode")
    if training is not None and training.as_int():
        return "the batch norm is in training mode"
    record = None if node is None else read_record(node)
    index = _weight_input(node)
    if index is None and isinstance(record, Record) and record.weights != DENSE:
        return (
            f"a factor per output channel would destroy its weights' structure ({record.weights})"
        )
    if node is None or index is None:
        return "no convolution or dense layer stands directly before it"
    if value is None or value.is_graph_output() or len(value.uses()) > 1:
        return f"the output of {layer_name(node)} is used elsewhere too"
    bits = code_bits(node.inputs[index])
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


def _monotone_behind(norm: ir.Node) -> ir.Node | None:
    """The only layer that reads a batch norm, if it computes the same without."""
    value = norm.outputs[0]
    readers = {use.node for use in value.uses()}
    reader = next(iter(readers)) if len(readers) == 1 else None
    method = None if reader is None or value.is_graph_output() else method_of(reader)
    training = norm.attributes.get("training_mode")
    known = constant(norm.inputs[1]) is not None
    if method is None or method.monotone is None or not known:
        return None
    return None if training is not None and training.as_int() else reader


def _array(value: ir.Value | None) -> np.ndarray:
    array = constant(value)
    if array is None:
        raise ValueError("not a constant")
    return array


def _scaled(node: ir.Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weight with every output channel multiplied by its factor."""
    if node.op_type == "Gemm":
        transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
        return weight * (factor[:, None] if transposed else factor)
    if node.op_type != "ConvTranspose":
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
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
    return None if node.op_type == "ConvTranspose" else 0


def _folded(norm: ir.Node, node: ir.Node, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (_array(value).astype(np.float64) for value in norm.inputs[1:5])
    factor = gamma / np.sqrt(variance + epsilon)
    index = _weight_input(node) or 1
    added = node.inputs[index + 1] if len(node.inputs) > index + 1 else None
    bias = np.zeros_like(mean) if added is None else _array(added).astype(np.float64)
    weight = _scaled(node, _array(node.inputs[index]).astype(np.float64), factor)
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
        """A batch norm with a layer directly before it, or one behind that does not need it."""
        layer, behind = _layer_before(node), _monotone_behind(node)
        if isinstance(layer, str) and behind is not None:
            told = (layer_name(node), layer_name(behind))
            return Candidate(told, told[0], partial(self._drop, model, node, behind, told))
        if isinstance(layer, str):
            return layer
        sites = (layer_name(layer), layer_name(node))
        fold = partial(self._fold, model, node, layer, sites)
        return Candidate(sites, sites[1], fold, through=layer.outputs[0].name)

    def _drop(
        self, model: ir.Model, norm: ir.Node, behind: ir.Node, sites: tuple[str, str]
    ) -> Change | str:
        method, source, output = method_of(behind), norm.inputs[0], behind.outputs[0]
        if method is None or method.monotone is None:
            return "the layer behind needs it"
        gamma = _array(norm.inputs[1]).astype(np.float64)
        dtype = None if source is None else source.dtype
        kind = np.dtype(np.float32) if dtype is None else dtype.numpy()
        emitter = Emitter(opset_of(model), kind, layer_name(behind), dict(behind.metadata_props))
        inputs = method.monotone(emitter, behind, gamma)
        if inputs is None:
            return "the layer behind cannot be read"
        change = Change(self.name, sites, True, inputs=names(source), outputs=names(output))
        alone = copy_node(behind, [source, *inputs])
        emitter.nodes.append(alone)
        install(model, emitter, output, alone.outputs[0])
        return change

    def _fold(
        self, model: ir.Model, norm: ir.Node, node: ir.Node, sites: tuple[str, str]
    ) -> Change | str:
        epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
        index = _weight_input(node) or 1
        emitter = Emitter(
            opset_of(model),
            _array(node.inputs[index]).dtype,
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
        folded = copy_node(node, [*node.inputs[:index], *values])
        folded.name = node.name or layer_name(node)
        emitter.nodes.append(folded)
        install(model, emitter, output, folded.outputs[0])
        return change
