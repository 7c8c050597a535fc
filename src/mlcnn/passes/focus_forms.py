"""The forms of focused layers: one for all, one for each by name, or the one of least estimate."""

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, infer_shapes
from mlcnn.ops import Form, find_form, method_of
from mlcnn.ops.focused import FOCUSED, read
from mlcnn.ops.geometry import Convolution
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.workload import RECORD_KEY, Record, read_record

__all__ = ["AUTO", "with_forms"]

AUTO = "auto"


def with_forms(
    model: ir.Model, form: str = AUTO, single: Mapping[str, str] | None = None
) -> ir.Model:
    """A copy of a network whose focused layers are computed by a form.

    Args:
        model: the network.
        form: of all layers; ``auto`` for the one of least estimate, half of the positions kept.
        single: forms of single layers, by name.

    Raises:
        InputError: a form is not known, or cannot compute a layer.
    """
    copied = clone(model)
    for node in [*copied.graph]:
        if method_of(node) is FOCUSED:
            layer = read(node)
            if isinstance(layer, Convolution):
                wanted = (single or {}).get(layer.name, form)
                _emit(copied, layer, _best(layer) if wanted == AUTO else _known(layer, wanted))
    RemoveUnusedFunctionsPass()(copied)
    infer_shapes(copied)
    check(copied)
    return copied


def _known(layer: Convolution, name: str) -> Form:
    form = find_form(name)
    if form not in FOCUSED.forms:
        known = ", ".join(each.name for each in FOCUSED.forms)
        raise InputError(f"focus: form {name!r}: {known} are known")
    refusal = form.refuses(layer, None)
    if refusal is not None:
        raise InputError(f"focus: form {name} of {layer.name}: {refusal}")
    return form


def _best(layer: Convolution) -> Form:
    taking = FOCUSED.taking(layer, None)
    nest = layer.layer(None)
    return taking[0] if nest is None else min(taking, key=lambda form: form.estimate(nest))


def _emit(model: ir.Model, layer: Convolution, form: Form) -> None:
    emitter, record = emitter_for(model, layer), read_record(layer.node)
    if isinstance(record, Record):
        emitter.metadata[RECORD_KEY] = replace(record, form=form.name).text()
    output = layer.node.outputs[0]
    install(model, emitter, output, form.emit(emitter, layer, None), anchor=layer.node)
