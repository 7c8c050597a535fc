"""Masks that change nothing: where an image has nothing but its background, outputs are known."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.api.skipping.work import Parts, Work
from mlcnn.frontier.activity import recorded
from mlcnn.graph import clone, layer_name
from mlcnn.ops.focused import Growth, Outside
from mlcnn.passes.focus import Focus
from mlcnn.training import ImageSet
from mlcnn.workload import read

__all__ = ["CONSTANT", "background", "constant_mask", "outside_of"]

CONSTANT = "constant"
"""The source of such masks."""

_LOOKED_AT = 500
_SAVES = 0.05
"""Share of a layer's positions, below which a mask is not worth making."""


def constant_mask(work: Work, parts: Parts) -> Focus | None:
    """The mask of what is not background; None where images have hardly any, or no layer gains.

    Args:
        work: the network.
        parts: the images; those that choose say what their background is.
    """
    few = parts.choose.first(_LOOKED_AT)
    focus = outside_of(work.model, background(work, few))
    if not focus.grids(work.model):
        return None
    kept = _kept(work, focus, few)
    gaining = tuple(name for name, share in kept.items() if share <= 1 - _SAVES)
    return replace(focus, only=gaining) if gaining else None


def _kept(work: Work, focus: Focus, images: ImageSet) -> dict[str, float]:
    """The share of the positions that each layer computes."""
    made = focus.apply(work.model).model
    activity = recorded(made, work.normal.apply(images.images))
    return {
        layer.name: float(activity.kept[layer.form or "", layer.positions].mean())
        for layer in read(made, batch=1).layers
        if layer.positions
    }


def background(work: Work, images: ImageSet) -> NDArray[np.float32]:
    """The colour that most pixels at the border of images have, as the network takes it: (C,)."""
    pixels = images.images
    edge = np.ones(pixels.shape[2:], bool)
    edge[1:-1, 1:-1] = False
    at_border = pixels[:, :, edge].transpose(0, 2, 1).reshape(-1, pixels.shape[1])
    colours, counts = np.unique(at_border, axis=0, return_counts=True)
    usual = colours[counts.argmax()].reshape(1, -1, 1, 1).astype(pixels.dtype)
    whole = np.broadcast_to(usual, (1, *pixels.shape[1:]))
    return work.normal.apply(np.ascontiguousarray(whole))[0, :, 0, 0]


def outside_of(model: ir.Model, colour: NDArray[np.float32]) -> Focus:
    """The masks of what is not background, from the network's input on, and what the rest gives.

    Args:
        model: the network, batch norms folded, of one input of images.
        colour: of the background, as the network takes it, shape (channels,).
    """
    (source,) = model.graph.inputs
    sizes = [1 if not isinstance(dim, int) else dim for dim in source.shape or ()]
    image = np.broadcast_to(colour.reshape(1, -1, 1, 1), (1, *sizes[1:])).astype(np.float32)
    plain = Focus(
        source.name or "", CONSTANT, _step(colour), grow=Growth.PATCH.value,
        background=tuple(float(value) for value in colour),
    )  # fmt: skip
    layers = plain.grids(model)
    if not layers:
        return plain
    probe = clone(model)
    nodes = [n for n in probe.graph if n.op_type == "Conv" and layer_name(n) in layers]
    wanted = dict.fromkeys(v for n in nodes for v in (n.inputs[0], n.outputs[0]) if v is not None)
    inside = [value for value in wanted if value.producer() is not None]
    probe.graph.outputs[:] = inside
    session = engines.get("onnxruntime").prepare(probe, threads=1)
    found = {source.name or "": image, **session.run({source.name or "": image})}
    outside = {
        layer_name(node): Outside(
            np.asarray(found[node.outputs[0].name or ""], np.float32),
            np.asarray(found[(node.inputs[0] and node.inputs[0].name) or ""], np.float32),
        )
        for node in nodes
    }
    return replace(plain, outside=outside)


def _step(colour: NDArray[np.float32]) -> float:
    """What rounding may move a colour by, and more: a pixel that is apart by less is background."""
    return float(1e-5 * max(1.0, float(np.abs(colour).max(initial=0.0))))
