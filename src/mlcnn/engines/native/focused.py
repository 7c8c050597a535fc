"""Focused layers: what a mask of the image keeps is computed, and zero elsewhere [Focused 2022].

As a network of standard operators, such a layer is a convolution and a ``Where`` behind it. Both
become one operation, a convolution at the positions of a list (``list.h``), with the addition and
the activation behind them. What has no lists is computed whole, and then masked.
"""

import onnx_ir as ir

from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.maps import map_at, masked_of
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import refusal
from mlcnn.nn.site import Site

__all__ = ["RULES", "mask_of"]


def mask_of(build: Builder, result: ir.Value, made: Value) -> tuple[Value | None, ir.Value]:
    """The mask of a convolution's result, if it is known by now, and what it makes of that."""
    reader = build.only_reader(result)
    if reader is None or masked_of(reader) is not result:
        return None, result
    mask = map_at(build, reader.inputs[0])
    if mask is None or mask.shape != (made.images, 1, made.rows, made.columns):
        return None, result
    build.done.add(reader)
    return mask, reader.outputs[0]


def _where(build: Builder, site: Site) -> None:
    """A mask behind any other layer."""
    if masked_of(site.node) is None:
        raise refusal(site, "another choice than between a value and zero")
    source = build.blocked(site, 1)
    mask = map_at(build, site.value(0))
    if mask is None or mask.shape != (source.images, 1, source.rows, source.columns):
        raise refusal(site, "another condition than a mask (N, 1, H, W) of an image")
    made = build.new(source.shape, source.lanes)
    operation = Operation(Op.KEEP, Part(source), Part(made), None, {
        "images": made.images, "blocks": len(made.lanes), "rows": made.rows,
        "columns": made.columns,
    }, mask=Part(mask))  # fmt: skip
    build.end(site, operation, site.node.outputs[0], made)


RULES: dict[str, Rule] = {"Where": _where}
