"""In which forms a focused network is saved: the fastest of each layer, measured on real masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.api.optimizing import Progress
from mlcnn.engines import Array
from mlcnn.engines.timing import interleave, ratio
from mlcnn.graph import clone, extract
from mlcnn.ops import method_of
from mlcnn.ops.focused import FOCUSED, read
from mlcnn.ops.focused.forms import Masked
from mlcnn.ops.geometry import Convolution
from mlcnn.passes.focus_forms import with_forms

__all__ = ["fastest_forms"]

_ENGINE = "onnxruntime"
_SECONDS = 0.3

Images = NDArray[np.float32]


def fastest_forms(model: ir.Model, images: Images, tell: Progress) -> ir.Model:
    """The network with each focused layer in the form that is surely fastest, image by image.

    A form that leaves out positions is taken where it is surely faster than ``mask``, which
    computes them; layers of one kind that share a mask have one form.

    Args:
        model: a network of focused layers.
        images: real ones, as the network takes them; the layers read what they read of these.
        tell: told how the work goes on.
    """
    layers = [
        layer
        for node in model.graph
        if method_of(node) is FOCUSED and isinstance(layer := read(node), Convolution)
    ]
    values, known = _values(model, layers, images), dict[object, str]()
    single: dict[str, str] = {}
    for done, layer in enumerate(layers):
        tell("time forms", done, len(layers))
        key = (replace(layer.nest, name="") if layer.nest else layer.name, _names(layer)[1])
        if key not in known:
            known[key] = _fastest(model, layer, values)
        single[layer.name] = known[key]
    return with_forms(model, Masked.name, single)


def _names(layer: Convolution) -> tuple[str, str]:
    """What a layer reads, and its mask."""
    first, second = (value.name or "" for value in layer.node.inputs[:2] if value is not None)
    return first, second


def _values(
    model: ir.Model, layers: list[Convolution], images: Images
) -> list[Mapping[str, Array]]:
    """What the layers read of each image, and their masks."""
    wanted = dict.fromkeys(name for layer in layers for name in _names(layer))
    probe = clone(model)
    made = {value.name or "": value for node in probe.graph for value in node.outputs}
    given = {value.name or "" for value in probe.graph.inputs}
    probe.graph.outputs[:] = [made[name] for name in wanted if name in made]
    (name,) = (value.name or "" for value in probe.graph.inputs)
    session = engines.get(_ENGINE).prepare(probe, threads=1)
    found = [session.run({name: images[i : i + 1]}) for i in range(len(images))]
    return [
        {**each, **({name: images[i : i + 1]} if name in given else {})}
        for i, each in enumerate(found)
    ]


def _fastest(model: ir.Model, layer: Convolution, values: Sequence[Mapping[str, Array]]) -> str:
    """The form of least time, of those that are surely faster than the dense layer with zeros."""
    names, output = _names(layer), layer.node.outputs[0].name or ""
    part = extract(model, names, [output])
    inputs = [{name: each[name] for name in names} for each in values]
    forms = [form.name for form in FOCUSED.taking(layer, None)]
    runners = {form: _runner(with_forms(part, form), inputs) for form in forms}
    times = interleave(runners, budget_s=_SECONDS)
    dense = times[Masked.name]
    faster = [form for form in forms if ratio(dense, times[form]).low > 1]
    return min(faster, key=lambda form: times[form].median_ms, default=Masked.name)


def _runner(model: ir.Model, inputs: Sequence[Mapping[str, Array]]) -> Callable[[], object]:
    session = engines.get(_ENGINE).prepare(model, threads=1)
    return lambda: [session.run(each) for each in inputs]
