"""Regions against a walk over every pool window, convolution output and kernel tap."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from passes.networks import Geometry, conv_pool_model, geometries

from mlcnn.ops import Convolution, Pooling, read_convolution, read_pooling
from mlcnn.ops.regions import MAX_REGIONS, Axis, Region, fused_regions


def _pair(geometry: Geometry) -> tuple[Convolution, Pooling]:
    conv, pool = conv_pool_model(geometry).graph
    convolution, pooling = read_convolution(conv), read_pooling(pool)
    assert isinstance(convolution, Convolution)
    assert isinstance(pooling, Pooling), pooling
    return convolution, pooling


@dataclass(frozen=True)
class Walk:
    """One pooled output along one axis, as PyTorch and ONNX define it.

    Attributes:
        taps: for every convolution output in the window and every tap, the input position; in the
            padding it is negative or past the end.
        divisor: positions that the pool divides by.
    """

    taps: tuple[tuple[int, ...], ...]
    divisor: int


def _walk(geometry: Geometry, axis: int) -> list[Walk]:
    size, outputs = geometry.size[axis], geometry.conv_size(axis)
    if geometry.pool == "AveragePool":
        kernel, stride = geometry.pool_kernel[axis], geometry.pool_strides[axis]
        before, after = geometry.pool_pads[axis], geometry.pool_pads[axis + 2]
    else:
        kernel, stride, before, after = outputs, 1, 0, 0
    steps = []
    first = -before
    while True:
        whole = first + kernel <= outputs + after
        partial = (
            geometry.ceil_mode
            and first < outputs
            and not whole
            and (first - stride + kernel < outputs + after)
        )
        if not (whole or partial):
            break
        padded = range(first, min(first + kernel, outputs + after))
        valid = [output for output in padded if 0 <= output < outputs]
        taps = tuple(
            tuple(
                output * geometry.strides[axis] - geometry.pads[axis] + t * geometry.dilations[axis]
                for t in range(geometry.kernel[axis])
            )
            for output in valid
        )
        assert all(position < size + geometry.pads[axis + 2] for line in taps for position in line)
        steps.append(Walk(taps, len(padded) if geometry.count_include_pad else len(valid)))
        first += stride
    return steps


def _along(axis: Axis, count: int) -> list[tuple[tuple[int, ...], ...]]:
    """The same, as an axis of a region says it; padding is any position outside its slice."""
    result = []
    for output in range(count):
        line = []
        for index in range(axis.window):
            first = (output * axis.pool_stride + index) * axis.conv_stride - axis.before
            line.append(tuple(axis.start + first + t * axis.dilation for t in range(axis.kernel)))
        result.append(tuple(line))
    return result


def _read(axis: Axis, position: int) -> int | None:
    """The input that a region reads at a position; None where it sees a zero."""
    stop = axis.start + (axis.size or 0)
    return position if axis.start <= position < stop else None


def _assert_axis(axis: Axis, walk: list[Walk], size: int) -> None:
    assert axis.outputs == len(walk)
    assert axis.full == size
    said = _along(axis, len(walk))
    for step, line in zip(walk, said, strict=True):
        assert len(line) == len(step.taps) == axis.window
        for wanted, positions in zip(step.taps, line, strict=True):
            inside = [position if 0 <= position < size else None for position in wanted]
            assert [_read(axis, position) for position in positions] == inside
    if axis.sliced:  # the slice and its zeros hold the last tap of the last window, and no more
        last = max(position for line in said[-1] for position in line)
        assert last == axis.start + (axis.size or 0) + axis.after - 1


def _split(walk: list[Walk], counts: list[int]) -> list[list[Walk]]:
    parts, start = [], 0
    for count in counts:
        parts.append(walk[start : start + count])
        start += count
    assert start == len(walk), "the regions cover every pooled output once"
    return parts


def _assert_regions(geometry: Geometry, regions: tuple[tuple[Region, ...], ...]) -> None:
    rows, columns = _walk(geometry, 0), _walk(geometry, 1)
    heights = [line[0].rows.outputs or 0 for line in regions]
    widths = [region.columns.outputs or 0 for region in regions[0]]
    for line, some_rows in zip(regions, _split(rows, heights), strict=True):
        for region, some_columns in zip(line, _split(columns, widths), strict=True):
            _assert_axis(region.rows, some_rows, geometry.size[0])
            _assert_axis(region.columns, some_columns, geometry.size[1])
            for row in some_rows:
                for column in some_columns:
                    share = len(row.taps) * len(column.taps) / (row.divisor * column.divisor)
                    assert region.scale == pytest.approx(share, rel=1e-12)


@given(geometries())
@settings(max_examples=400)
def test_regions_read_what_a_walk_reads(geometry: Geometry) -> None:
    convolution, pooling = _pair(geometry)
    regions = fused_regions(convolution, pooling)
    if isinstance(regions, str):
        return
    assert sum(len(line) for line in regions) <= MAX_REGIONS
    _assert_regions(geometry, regions)


@pytest.mark.parametrize(("geometry", "shape"), [
    (Geometry(), (1, 1)),
    (Geometry(pool="GlobalAveragePool"), (1, 1)),
    # Windows at the start are cut by the padding; over 8 the last 3/2 window is whole.
    (Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1)), (2, 2)),
    (Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1), size=(9, 9)), (3, 3)),
    (Geometry(size=(9, 8), ceil_mode=True), (2, 1)),
    (Geometry(pool_kernel=(3, 2), pool_pads=(1, 0, 1, 0), size=(9, 8)), (3, 1)),
    # Padding that no window reads cuts nothing.
    (Geometry(pool_pads=(0, 0, 1, 1)), (1, 1)),
])  # fmt: skip
def test_common_pools_are_not_refused(geometry: Geometry, shape: tuple[int, int]) -> None:
    """The law above holds trivially where there are no regions."""
    regions = fused_regions(*_pair(geometry))
    assert not isinstance(regions, str)
    assert (len(regions), len(regions[0])) == shape
    _assert_regions(geometry, regions)


def test_whole_axis_keeps_the_padding_and_reads_everything() -> None:
    ((region,),) = fused_regions(*_pair(Geometry(pads=(2, 1, 0, 1))))
    assert (region.rows.before, region.rows.after) == (2, 0)
    assert not region.rows.sliced
    assert region.scale == 1.0


def test_counted_padding_scales_the_border() -> None:
    """Over 8 with one zero around, the first 3-window holds 2 values: 4/9 in the corner."""
    geometry = Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1), count_include_pad=True)
    scales = [[region.scale for region in line] for line in fused_regions(*_pair(geometry))]
    assert scales == [[4 / 9, 6 / 9], [6 / 9, 1.0]]


@pytest.mark.parametrize(("geometry", "reason"), [
    (Geometry(dynamic=True, pool="GlobalAveragePool"),
     "the pool is global and height or width are dynamic"),
    (Geometry(dynamic=True, ceil_mode=True),
     "the pool's border depends on height or width, which are dynamic"),
    (Geometry(size=(20, 20), pool_kernel=(7, 7), pool_pads=(3, 3, 3, 3)),
     ("the pool's border splits the output into 16 regions, more than 9: more convolutions than "
      "it saves")),
    (Geometry(kernel=(1, 1), pads=(2, 2, 2, 2), pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1)),
     "a region reads only padding"),
])  # fmt: skip
def test_reasons(geometry: Geometry, reason: str) -> None:
    assert fused_regions(*_pair(geometry)) == reason


def test_dynamic_sizes_stay_open() -> None:
    ((region,),) = fused_regions(*_pair(Geometry(dynamic=True)))
    for axis in region.axes:
        assert (axis.size, axis.outputs, axis.full) == (None, None, None)
        assert (axis.before, axis.after, axis.window, axis.stride) == (1, 1, 2, 2)
        assert not axis.sliced
