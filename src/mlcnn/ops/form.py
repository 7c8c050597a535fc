"""Forms of a fused layer region by region: each has windows of one size."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from mlcnn.ops.emitter import Emitter
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.regions import Axis, Region, fused_regions

__all__ = ["by_regions", "padding", "pads_of"]


def _slice(emitter: Emitter, value: ir.Value, region: Region) -> ir.Value:
    cut = [(axis, index) for index, axis in enumerate(region.axes, start=2) if axis.sliced]
    if not cut:
        return value
    starts = emitter.integers([axis.start for axis, _ in cut], "starts")
    ends = emitter.integers([axis.start + (axis.size or 0) for axis, _ in cut], "ends")
    axes = emitter.integers([index for _, index in cut], "axes")
    return emitter.op("Slice", [value, starts, ends, axes])


def by_regions(
    emitter: Emitter,
    convolution: Convolution,
    pooling: Pooling | None,
    piece: Callable[[Emitter, Convolution, Region, ir.Value], ir.Value],
) -> ir.Value:
    """Compute every region by ``piece`` and put them together.

    Raises:
        ValueError: the pair has no regions; ``refuses`` says so beforehand.
    """
    regions = fused_regions(convolution, pooling)
    if isinstance(regions, str):
        raise ValueError(regions)
    source = convolution.node.inputs[0]
    if source is None:
        raise ValueError("a convolution without input")
    lines: list[ir.Value] = []
    for line in regions:
        parts: list[ir.Value] = []
        for region in line:
            part = piece(emitter, convolution, region, _slice(emitter, source, region))
            if region.scale != 1.0:
                part = emitter.op("Mul", [part, emitter.weight(_scalar(region.scale), "scale")])
            parts.append(part)
        lines.append(parts[0] if len(parts) == 1 else emitter.op("Concat", parts, axis=3))
    return lines[0] if len(lines) == 1 else emitter.op("Concat", lines, axis=2)


def _scalar(value: float) -> np.ndarray:
    return np.asarray(value)


def pads_of(rows: tuple[int, int], columns: tuple[int, int]) -> tuple[int, int, int, int]:
    """(before, after) per axis as ONNX pads (top, left, bottom, right)."""
    return rows[0], columns[0], rows[1], columns[1]


def padding(axis: Axis) -> tuple[int, int]:
    """(before, after) of an axis."""
    return axis.before, axis.after
