"""What only moves numbers: other names and shapes, concatenations, slices, padding."""

from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.program import Operation, Part, Value, standard_lanes
from mlcnn.engines.native.reading import (
    DENSE_ORDER,
    dense_strides,
    numbers_of,
    rank_of,
    refusal,
    shape_of,
)
from mlcnn.nn.site import Site

__all__ = ["RULES"]


def _same(build: Builder, site: Site) -> None:
    """The same numbers in the same order."""
    if site.node.op_type == "Dropout" and site.spec.has_input(2):
        training = site.tensor(2)
        if training is None or bool(training.any()):
            raise refusal(site, "training_mode")
    build.put(site, site.node.outputs[0], build.value_of(site.value(0), site.spec.where))


def _concat(build: Builder, site: Site) -> None:
    """Inputs become parts of the result; what is a part already, is copied."""
    result = site.node.outputs[0]
    shape = shape_of(result, site.spec.where)
    if site.spec.integer("axis", 1) % len(result.shape or ()) != 1:
        raise refusal(site, "another axis than the channels")
    values: list[Value] = []
    for index in range(len(site.node.inputs)):
        value = build.blocked(site, index)
        if value.whole is not None or value in values:
            value = build.copied(value)
        values.append(value)
    made = build.new(shape, tuple(count for value in values for count in value.lanes))
    block = 0
    for value in values:
        value.whole, value.block = made, block
        block += len(value.lanes)
    build.put(site, result, made)


def _transpose(build: Builder, site: Site) -> None:
    source, rank = build.blocked(site, 0), rank_of(site)
    order = site.spec.integers("perm") or tuple(reversed(range(rank)))
    steps = dense_strides(source.shape)
    images, channels, rows, columns = (*(steps[axis] for axis in order), 1, 1)[:4]
    result = site.node.outputs[0]
    made = build.rearranged(
        source, shape_of(result, site.spec.where), None, (images, channels, rows, columns)
    )
    build.put(site, result, made)


def _slice(build: Builder, site: Site) -> None:
    given = [site.tensor(index) for index in range(1, 5)]
    missing = any(site.spec.has_input(index) and given[index - 1] is None for index in range(1, 5))
    starts, ends, axes, steps = (None if one is None else one.tolist() for one in given)
    rank = rank_of(site)
    if rank not in {2, 4} or missing or starts is None or ends is None:
        raise refusal(site, "a bound that is not constant")
    source = build.blocked(site, 0)
    ranges = [range(size) for size in source.shape]
    for axis, start, end, step in zip(
        range(len(starts)) if axes is None else axes,
        starts, ends, [1] * len(starts) if steps is None else steps, strict=True,
    ):  # fmt: skip
        if step < 1:
            raise refusal(site, f"a slice with step {step}")
        ranges[axis % rank] = ranges[axis % rank][start:end:step]
    images, channels, rows, columns = ranges
    if len(images) != source.images:
        raise refusal(site, "a slice of the batch")
    if not channels or not rows or not columns:
        raise refusal(site, "a slice of nothing")
    if len(channels) < source.channels:
        source = _first_channels(site, source, channels)
    if (len(rows), len(columns)) == source.shape[2:]:
        build.put(site, site.node.outputs[0], source)
        return
    made = build.new((*source.shape[:2], len(rows), len(columns)), source.lanes)
    part = Part(source, 0, rows.start, columns.start, rows.step, columns.step)
    fields: dict[str, int | float] = {"rows": len(rows), "columns": len(columns)}
    build.operations.append(build.map(part, Part(made), fields))
    build.put(site, site.node.outputs[0], made)


def _first_channels(site: Site, source: Value, channels: range) -> Value:
    """The first channels of a value, where they lie."""
    if channels != range(len(channels)):
        raise refusal(site, "a slice of other channels than the first")
    lanes, left = list[int](), len(channels)
    for count in source.lanes:
        if left > 0:
            lanes.append(min(count, left))
        left -= count
    return Value(source.images, tuple(lanes), source.rows, source.columns, whole=source)


def _pad(build: Builder, site: Site) -> None:
    """Zeros, and in their middle a copy."""
    pads, value = numbers_of(site, 1, "pads"), site.tensor(2)
    filled = site.spec.real("value", 0) if value is None else float(value)
    plain = site.spec.text("mode", "constant") == "constant" and filled == 0
    unknown = site.spec.has_input(3) or (site.spec.has_input(2) and value is None)
    rank = rank_of(site)
    if not plain or unknown or pads is None or rank not in {2, 4} or min(pads) < 0:
        raise refusal(site, "this way of padding")
    before, after = (*pads[:rank], 0, 0)[:4], pads[rank:]
    if before[0] or after[0]:
        raise refusal(site, "padding the batch")
    source, result = build.blocked(site, 0), site.node.outputs[0]
    above = standard_lanes(before[1], build.block)
    lanes = (*above, *source.lanes, *standard_lanes(after[1], build.block))
    made = build.new(shape_of(result, site.spec.where), lanes)
    build.operations.append(
        Operation(Op.BORDER, y=Part(made), fields={
            "images": made.images, "blocks": len(lanes), "rows": made.rows, "right": made.columns,
        })
    )  # fmt: skip
    build.operations.append(build.map(Part(source), Part(made, len(above), before[2], before[3])))
    build.put(site, result, made)


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    "Transpose": _transpose,
    **dict.fromkeys(DENSE_ORDER, _same),
}
