"""The forms of layers with masks: one for all, one for each, or the one of least estimate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, constant, infer_shapes
from mlcnn.ops import Emitter, Form, Method, find_form, method_of
from mlcnn.ops.focused import FOCUSED, read, stored
from mlcnn.ops.focused.forms import Gathered, Masked, Rectangle
from mlcnn.ops.geometry import Convolution
from mlcnn.passes.rewriting import emitter_for, install, opset_of
from mlcnn.workload import RECORD_KEY, Record, ends, read_record, recorded

__all__ = ["AUTO", "unlisted", "with_forms"]

AUTO = "auto"


def with_forms(
    model: ir.Model,
    form: str = AUTO,
    single: Mapping[str, str] | None = None,
    *,
    method: Method = FOCUSED,
    reading: Callable[[ir.Node], Convolution | str] = read,
) -> ir.Model:
    """A copy of a network whose focused layers, or those of another method, take a form.

    Args:
        model: the network.
        form: of all layers; ``auto`` for the one of least estimate, half of the positions kept.
        single: forms of single layers, by name.
        method: whose layers.
        reading: a node of the method as a convolution, or why it is none.

    Raises:
        InputError: a form is not known, or cannot compute a layer.
    """
    copied = clone(model)
    for node in [*copied.graph]:
        if method_of(node) is method:
            layer = reading(node)
            if isinstance(layer, Convolution):
                wanted = (single or {}).get(layer.name, form)
                best = _best(method, layer) if wanted == AUTO else _known(method, layer, wanted)
                _emit(copied, layer, best)
    RemoveUnusedFunctionsPass()(copied)
    infer_shapes(copied)
    check(copied)
    return copied


def unlisted(model: ir.Model) -> ir.Model:
    """Focused layers of any form become a convolution and zeros outside of its mask.

    Args:
        model: a network of standard operators; it is changed. Layers whose weights, or mask, are
            not found among their nodes stay as they are.
    """
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.inputs}
    groups = {record.site: (record, nodes) for record, nodes in recorded(model.graph).values()}
    for record, nodes in groups.values():
        mask = values.get(record.positions)
        if mask is not None and record.form in {Gathered.name, Rectangle.name}:
            _unlist(model, record, nodes, mask)
    return model


def _unlist(model: ir.Model, record: Record, nodes: Sequence[ir.Node], mask: ir.Value) -> None:
    outside, results = ends(nodes)
    sources = [v for v in outside if constant(v) is None and v is not mask]
    weight, bias = stored(record, nodes)
    if len(sources) != 1 or len(results) != 1 or weight is None:
        return
    nest, ((source,), (result,)) = record.geometry, (sources, results)
    told = {RECORD_KEY: replace(record, form=Masked.name).text()}
    emitter = Emitter(opset_of(model), weight.dtype, nest.name, told)
    sums = emitter.op(
        "Conv",
        [source, emitter.weight(weight, "weight"),
         None if bias is None else emitter.weight(bias, "bias")],
        strides=nest.strides, pads=nest.pads, dilations=nest.dilations, group=nest.G,
    )  # fmt: skip
    kept = emitter.op("Where", [mask, sums, emitter.weight(np.zeros(()), "zero")])
    install(model, emitter, result, kept)


def _known(method: Method, layer: Convolution, name: str) -> Form:
    form = find_form(name)
    if form not in method.forms:
        known = ", ".join(each.name for each in method.forms)
        raise InputError(f"{method.name}: form {name!r}: {known} are known")
    refusal = form.refuses(layer, None)
    if refusal is not None:
        raise InputError(f"{method.name}: form {name} of {layer.name}: {refusal}")
    return form


def _best(method: Method, layer: Convolution) -> Form:
    taking = method.taking(layer, None)
    nest = layer.layer(None)
    return taking[0] if nest is None else min(taking, key=lambda form: form.estimate(nest))


def _emit(model: ir.Model, layer: Convolution, form: Form) -> None:
    emitter, record = emitter_for(model, layer), read_record(layer.node)
    if isinstance(record, Record):
        emitter.metadata[RECORD_KEY] = replace(record, form=form.name).text()
    output = layer.node.outputs[0]
    install(model, emitter, output, form.emit(emitter, layer, None), anchor=layer.node)
