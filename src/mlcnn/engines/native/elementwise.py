"""What is computed number by number: functions, bounds, sums and products."""

from math import prod

import numpy as np

from mlcnn.engines.native.activations import FUNCTIONS, function_of
from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Binary, Op
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.reading import (
    Shape,
    constant_of,
    dense_strides,
    padded,
    refusal,
    shape_of,
    sizes_of,
    weights_of,
)
from mlcnn.nn.site import Site

__all__ = ["RULES", "norm_of"]

_BINARY = {
    "Add": Binary.ADD, "Div": Binary.DIV, "Max": Binary.MAX, "Min": Binary.MIN,
    "Mul": Binary.MUL, "Sub": Binary.SUB,
    "And": Binary.MIN, "Equal": Binary.EQUAL, "Greater": Binary.LESS,
    "GreaterOrEqual": Binary.AT_MOST, "Less": Binary.LESS, "LessOrEqual": Binary.AT_MOST,
    "Or": Binary.MAX,
}  # fmt: skip
_TURNED = frozenset({"Greater", "GreaterOrEqual"})
_SHIFTS = frozenset({"Add", "Div", "Mul", "Sub"})


def _function(build: Builder, site: Site) -> None:
    source = build.value_of(site.value(0), site.spec.where)
    made = build.new(source.shape, source.lanes)
    fields: dict[str, int | float] = {}
    scale = shift = None
    kind, spec, result = site.node.op_type, site.spec, site.node.outputs[0]
    gate = build.gate(site)
    if gate is not None:
        build.done.update(gate.nodes)
        result, fields = gate.result, gate.fields
    elif kind == "HardSigmoid":
        scale = np.full(source.channels, spec.real("alpha", 0.2), np.float32)
        shift = np.full(source.channels, spec.real("beta", 0.5), np.float32)
        fields = {"low": 0.0, "high": 1.0}
    elif kind in {"Neg", "Not"}:
        scale = np.full(source.channels, -1, np.float32)
        shift = np.full(source.channels, int(kind == "Not"), np.float32)
    else:
        fields = function_of(site)
    build.operations.append(build.map(Part(source), Part(made), fields, scale, shift))
    build.put(site, result, made)


def norm_of(site: Site) -> tuple[Floats, Floats]:
    """A batch norm's factor and shift of each channel.

    Raises:
        UnsupportedError: it is in training mode, or they are not constant.
    """
    if site.spec.integer("training_mode", 0):
        raise refusal(site, "training_mode")
    scale, bias, mean, variance = (weights_of(site, i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + site.spec.real("epsilon", 1e-5))
    return factor.astype(np.float32), (bias - mean * factor).astype(np.float32)


def _norm(build: Builder, site: Site) -> None:
    factor, shift = norm_of(site)
    _affine(build, site, build.blocked(site, 0), factor, shift)


def _affine(build: Builder, site: Site, source: Value, scale: Floats, shift: Floats) -> None:
    if not scale.size == shift.size == source.channels:
        raise refusal(site, f"{scale.size} factors for {source.channels} channels")
    made = build.new(source.shape, source.lanes)
    operation = build.map(Part(source), Part(made), None, scale, shift)
    build.end(site, operation, site.node.outputs[0], made)


# -- two operands


def _binary(build: Builder, site: Site) -> None:
    if len(site.node.inputs) != 2:
        raise refusal(site, f"an operator of {len(site.node.inputs)} operands")
    constants = [constant_of(value) for value in site.node.inputs]
    for index, array in enumerate(constants):
        if array is not None and site.node.op_type in _SHIFTS:
            _with_constant(build, site, array, constant_first=index == 0)
            return
    sizes = sizes_of(site.node.outputs[0], site.spec.where)
    shape = shape_of(site.node.outputs[0], site.spec.where)
    parts = [_operand(build, site, index, sizes, shape) for index in range(2)]
    whole = next((part for part in parts if part.value.shape == shape), None)
    if whole is None:  # each repeats the other
        whole = parts[0] = Part(build.rearranged(
            parts[0].value, shape, None, _repeated(parts[0].value.shape, shape)
        ))  # fmt: skip
    lanes = whole.value.lanes
    for index, part in enumerate(parts):
        if part.value.lanes != lanes:
            value = build.rearranged(part.value, part.value.shape, lanes)
            parts[index] = Part(value, row_step=part.row_step, column_step=part.column_step)
    made = build.new(shape, lanes)
    if site.node.op_type in _TURNED:
        parts.reverse()
    operation = Operation(Op.BINARY, parts[0], Part(made), parts[1], {
        "mode": _BINARY[site.node.op_type], "images": made.images, "blocks": len(lanes),
        "rows": made.rows, "columns": made.columns,
    })  # fmt: skip
    build.end(site, operation, site.node.outputs[0], made)


def _operand(build: Builder, site: Site, index: int, sizes: tuple[int, ...], shape: Shape) -> Part:
    """An operand for a result of these sizes; the kernel repeats rows and columns as it reads."""
    given = sizes_of(site.value(index), site.spec.where)
    own = padded((1,) * (len(sizes) - len(given)) + given)
    value = build.array(site, index)
    if len(given) == len(sizes) and constant_of(site.value(index)) is None:
        value = build.blocked(site, index)
    value = build.shaped(value, own)
    if own[:2] != shape[:2]:
        value = build.rearranged(value, shape, None, _repeated(own, shape))
    repeats = [int(value.shape[axis] == shape[axis]) for axis in (2, 3)]
    return Part(value, row_step=repeats[0], column_step=repeats[1])


def _repeated(own: Shape, shape: Shape) -> Shape:
    """Strides that spread an array over a larger one."""
    steps = dense_strides(own)
    images, channels, rows, columns = (
        step if size == whole else 0 for step, size, whole in zip(steps, own, shape, strict=True)
    )
    return images, channels, rows, columns


def _with_constant(build: Builder, site: Site, array: Floats, *, constant_first: bool) -> None:
    source, numbers = _per_channel(build, site, array, int(constant_first))
    kind = site.node.op_type
    ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
    if kind == "Add":
        _affine(build, site, source, ones, numbers)
    elif kind == "Sub" and constant_first:
        _affine(build, site, source, -ones, numbers)
    elif kind == "Sub":
        _affine(build, site, source, ones, -numbers)
    elif kind == "Mul":
        _affine(build, site, source, numbers, zeros)
    elif kind == "Div" and not constant_first:
        with np.errstate(divide="ignore", over="ignore"):
            _affine(build, site, source, np.float32(1) / numbers, zeros)
    else:
        raise refusal(site, "a constant operand" + " on the left" * (kind == "Div"))


def _per_channel(build: Builder, site: Site, array: Floats, index: int) -> tuple[Value, Floats]:
    """The operand that is no constant, in blocks in which the constant is one number a channel.

    Axes along which the constant differs, if they are neighbours, become the channels.
    """
    where, given = site.spec.where, sizes_of(site.value(index), site.spec.where)
    sizes = sizes_of(site.node.outputs[0], where)
    source = build.value_of(site.value(index), where)
    if prod(given) != prod(sizes):  # the constant repeats the other operand
        own = padded((1,) * (len(sizes) - len(given)) + given)
        shape = shape_of(site.node.outputs[0], where)
        source = build.rearranged(build.shaped(source, own), shape, None, _repeated(own, shape))
    if array.size == 1:
        return source, np.full(source.channels, array.reshape(-1)[0], np.float32)
    full = (1,) * (len(sizes) - array.ndim) + array.shape
    differs = [axis for axis, size in enumerate(full) if size > 1]
    first, end = differs[0], differs[-1] + 1
    if full[first:end] != sizes[first:end]:
        raise refusal(site, f"a constant {list(array.shape)} for a value {list(given)}")
    behind = (1, *sizes[end:])
    shape = prod(sizes[:first]), prod(sizes[first:end]), prod(behind[:-1]), behind[-1]
    if (source.images, source.channels) != shape[:2]:
        source = build.rearranged(source, shape)
    return source, np.ascontiguousarray(array.reshape(-1))


RULES: dict[str, Rule] = {
    "BatchNormalization": _norm,
    "Clip": _function,
    "HardSigmoid": _function,
    "Neg": _function,
    "Not": _function,
    "Relu": _function,
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(FUNCTIONS, _function),
}
