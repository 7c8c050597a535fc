"""The structure pass: convolutions become the operator, each filter the nearest multiple."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.graph import clone, constant, infer_shapes, layer_name
from mlcnn.ops import Convolution, read_convolution
from mlcnn.passes import Change, PassResult, Skipped, Structuring
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.sites import Selection
from mlcnn.workload import RECORD_KEY, Record
from paired_filters.method import OPERATOR, STRUCTURE, paired_conv


@dataclass(frozen=True, slots=True)
class Pair(Structuring):
    """Pair the filters of every convolution that has an even number of them."""

    name: ClassVar[str] = "pair"
    exact: ClassVar[bool] = False
    least: int | None = None

    def structure(self, model: ir.Model) -> PassResult:
        """Return the network with paired filters."""
        model = clone(model)
        changes, skipped = [], []
        for node in [node for node in model.graph if node.op_type == "Conv" and not node.domain]:
            layer = read_convolution(node)
            name = layer_name(node)
            reason = layer if isinstance(layer, str) else self._refuses(layer)
            if reason is not None:
                skipped.append(Skipped(self.name, name, reason))
                continue
            changes.append(self._rewrite(model, layer))
        if changes:
            infer_shapes(model)
        return PassResult(model, tuple(changes), tuple(skipped))

    def _refuses(self, layer: Convolution) -> str | None:
        if RECORD_KEY in layer.node.metadata_props:
            return "it is a part of another layer"
        if layer.groups != 1 or layer.filters % 2:
            return "it has groups, or an odd number of filters"
        if layer.filters < (self.least or 0):
            return f"it has fewer than {self.least} filters"
        return Selection(self.only, self.exclude).refuses((layer.name,))

    def _rewrite(self, model: ir.Model, layer: Convolution) -> Change:
        weight = constant(layer.weight).astype(np.float64)
        first, second = np.split(weight, 2)
        axes = (1, 2, 3)
        scale = (first * second).sum(axes) / (first * first).sum(axes)
        bias = np.zeros(layer.filters) if layer.bias is None else constant(layer.bias)
        output = layer.node.outputs[0]
        emitter = emitter_for(model, layer)
        emitter.metadata[RECORD_KEY] = Record(
            output.name, layer.nest, OPERATOR, weights=STRUCTURE,
            parameters=layer.parameters, weight_bytes=layer.weight_bytes, density=layer.density,
        ).text()  # fmt: skip
        result = emitter.call(
            paired_conv,
            [
                layer.node.inputs[0],
                emitter.weight(first, "weight"),
                emitter.weight(scale.reshape(-1, 1, 1), "scale"),
                emitter.weight(bias.reshape(-1, 1, 1), "bias"),
            ],
            strides=layer.strides,
            pads=layer.pads,
            dilations=layer.dilations,
        )
        paired = np.concatenate([first, scale.reshape(-1, 1, 1, 1) * first])
        change = Change(
            self.name, (layer.name,), exact=False,
            inputs=(layer.node.inputs[0].name,), outputs=(output.name,),
            kept=float((paired**2).sum() / (weight**2).sum()),
        )  # fmt: skip
        install(model, emitter, output, result, anchor=layer.node)
        return change
