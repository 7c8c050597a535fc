"""Convolutions of the channels that masks choose, image by image: ``mlcnn::SelectedConv``.

As standard operators, such a layer is a ``Where`` between its input and zero, a convolution, and a
``Where`` between its results and zero. They become one operation, which passes over the products
with input channels that are left out (``selected.h``); weights stay where they are.
"""

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.layers import bias_of, fields_of
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.maps import masked_of
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import DENSE_ORDER, refusal, weights_of
from mlcnn.graph import is_standard
from mlcnn.graph.operators import conv_windows
from mlcnn.nn.site import Site

__all__ = ["take"]

_RANK = 4


def take(build: Builder, site: Site) -> bool:
    """Lower a layer of chosen channels; what chooses its input waits for the convolution.

    Returns:
        False where a node is no part of one.

    Raises:
        UnsupportedError: the layer has groups, or a mask of another shape.
    """
    if _is_choice(site.node):
        reader = build.only_reader(site.node.outputs[0])
        return reader is not None and reader.op_type == "Conv" and is_standard(reader)
    source = site.value(0)
    chosen = None if source is None else source.producer()
    if site.node.op_type != "Conv" or chosen is None or not _is_choice(chosen):
        return False
    if build.only_reader(chosen.outputs[0]) is not site.node:
        return False
    _select(build, site, build.site(chosen))
    return True


def _is_choice(node: ir.Node) -> bool:
    """Whether a node keeps channels that a mask names, (N, C, 1, 1), and makes the others zero."""
    given, mask = masked_of(node), node.inputs[0] if node.inputs else None
    if given is None or mask is None or mask.shape is None or given.shape is None:
        return False
    sizes = tuple(mask.shape)
    return len(sizes) == _RANK and sizes[1] == given.shape[1] != 1 and sizes[2:] == (1, 1)


def _known(build: Builder, site: Site) -> Value | None:
    """What a choice is made by, maybe in another shape; None where it is not computed yet."""
    value = site.value(0)
    while value is not None and build.known(value) is None:
        maker = value.producer()
        if maker is None or maker.op_type not in DENSE_ORDER:
            return None
        value = maker.inputs[0]
    return build.known(value)


def _mask(site: Site, build: Builder, found: Value, channels: Value) -> Value:
    """The same, in blocks as those that it is of."""
    shape = channels.images, channels.channels, 1, 1
    if found.images * found.channels * found.rows * found.columns != shape[0] * shape[1]:
        raise refusal(site, f"a mask {list(found.shape)} of {list(channels.shape)}")
    if (found.shape, found.lanes) == (shape, channels.lanes):
        return found
    return build.rearranged(found, shape, channels.lanes)


def _select(build: Builder, site: Site, chosen: Site) -> None:
    weight = weights_of(site, 1)
    if weight.ndim != _RANK or site.spec.integer("group", 1) != 1:
        raise refusal(site, "channels chosen of a convolution in groups or of another rank,")
    source, given = build.blocked(chosen, 1), build.value_of(chosen.value(0), chosen.spec.where)
    x, fields = fields_of(site, source, conv_windows(site.spec, weight.shape[2:]))
    result, filters = site.node.outputs[0], len(weight)
    made = build.new((source.images, filters, int(fields["rows"]), int(fields["columns"])))
    reader, kept = build.only_reader(result), None
    if reader is not None and _is_choice(reader) and masked_of(reader) is result:
        behind = build.site(reader)
        found = _known(build, behind)
        if found is not None:
            build.done.add(reader)
            kept, result = Part(_mask(behind, build, found, made)), reader.outputs[0]
    operation = Operation(
        Op.SELECT, x, Part(made), kept,
        {
            **fields, "blocks": len(source.lanes), "filters": len(made.lanes), "low": -np.inf,
            "high": np.inf,
        },
        {
            "lanes": np.array(source.lanes, np.int32),
            "weights": build.packing.tiled(weight, source.lanes),
            "biases": build.packing.per_lane(bias_of(site, filters)),
        },
        mask=Part(_mask(chosen, build, given, source)),
    )  # fmt: skip
    build.end(site, operation, result, made)
