"""The forms of layers with masks: one for all, one for each, or the one of least estimate."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, infer_shapes
from mlcnn.ops import Form, Method, find_form, method_of
from mlcnn.ops.focused import FOCUSED, read
from mlcnn.ops.geometry import Convolution
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.workload import RECORD_KEY, Record, read_record

__all__ = ["AUTO", "with_forms"]

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
