"""Comparator layers: comparisons are codes 0 and 1, which pools and layers read as any others.

Where one 1x1 layer of codes alone reads them, both may be one operation; see ``comparing``.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import Coded, Coding
from mlcnn.engines.native.comparator_reading import Compared
from mlcnn.engines.native.comparator_steps import (
    Comparison,
    bits_like,
    compare,
    implement_at_once,
    way_of,
)
from mlcnn.engines.native.few_bits import CodedLayer, implement_codes
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.program import Operation, Value
from mlcnn.engines.native.reading import refusal, shape_of
from mlcnn.engines.native.rounded import read_codes
from mlcnn.graph.operators import Windows
from mlcnn.nn.site import Site

__all__ = ["behind_comparisons", "comparison_of", "lower"]


def lower(build: Builder, site: Site, found: Compared) -> None:
    """Compare; the result is codes 0 and 1.

    Raises:
        UnsupportedError: the images are smaller than a window.
    """
    where, pairs = site.spec.where, found.pairs
    shape, coded = shape_of(found.source, where), read_codes(build, found.source)
    if coded is None or coded.count > 1 or coded.value.shape != shape:
        source, floats = build.shaped(build.value_of(found.source, where), shape), True
    else:
        source, floats = coded.value, False
    top, left, bottom, right = pairs.pads
    window = np.maximum(pairs.first, pairs.second).max(0) + 1
    _, maps, rows, columns = shape_of(found.result, where)
    ends = [
        (count - 1) * stride + int(reach) <= size
        for count, stride, reach, size in zip(
            (rows, columns), pairs.strides, window,
            (source.rows + top + bottom, source.columns + left + right), strict=True,
        )
    ]  # fmt: skip
    if not all(ends) or maps != len(pairs.first):
        raise refusal(site, "windows beyond the images")
    made = bits_like(source, maps // source.channels, rows, columns)
    operation = compare(source, made, pairs, build.block, floats=floats)
    build.operations.append(operation)
    build.codes[found.result] = Coded(made, Coding(1.0, 0), 1, 0, 1)
    build.compared[made] = Comparison(operation, source.lanes, pairs)


def comparison_of(
    build: Builder, site: Site, value: Value, windows: Windows, parts: int
) -> Comparison | None:
    """The comparisons in front of a 1x1 layer that alone reads them; None where there are none.

    Args:
        build: the network so far.
        site: the layer.
        value: what it reads.
        windows: of the layer.
        parts: groups that it is computed in.
    """
    source = site.value(0)
    if source is None or build.only_reader(source) is not site.node or parts > 1:
        return None
    plain = windows.kernel == windows.strides == (1, 1)
    alone = plain and windows.pads((value.rows, value.columns)) == ((0, 0), (0, 0))
    return build.compared.get(value) if alone else None


def behind_comparisons(
    build: Builder, comparison: Comparison, geometry: Geometry, operation: Operation,
    layer: CodedLayer,
) -> tuple[Geometry, Callable[[Kind, float], None]]:  # fmt: skip
    """A layer of comparisons' bits: by which algorithms, and what completes it by one.

    Args:
        build: the network so far.
        comparison: what stands in front of it.
        geometry: of the layer alone.
        operation: of the layer alone.
        layer: its weights.
    """
    few = geometry.few
    if few is None:
        raise ValueError("bits of comparisons are codes")
    tables = way_of(comparison, layer.codes, build.library)
    ways = geometry.ways if tables is None else (Few.LOOKUPS, *geometry.ways)

    def complete(kind: Kind, _: float) -> None:
        """Where comparisons are made along, no codes are made of them."""
        if kind is not Few.LOOKUPS or tables is None:
            implement_codes(operation, layer, few, kind, build.library)
            return
        build.operations.remove(comparison.operation)
        implement_at_once(operation, comparison, tables, build.library)

    return replace(geometry, ways=ways, compared=comparison.shape), complete
