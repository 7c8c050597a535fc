"""Convolutions, and dense layers as convolutions."""

from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.focused import mask_of
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.packing import Shared
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.reading import constant_of, refusal, sizes_of, weights_of
from mlcnn.engines.native.shared import ONE, shared_from
from mlcnn.graph import is_standard
from mlcnn.graph.operators import Windows, conv_windows
from mlcnn.nn.site import Site

__all__ = ["ONE", "RULES", "bias_of", "fields_of"]


def _conv(build: Builder, site: Site) -> None:
    weight = weights_of(site, 1)
    if weight.ndim != 4:
        raise refusal(site, f"a {weight.ndim - 2}-D convolution")
    source, groups = build.blocked(site, 0), site.spec.integer("group", 1)
    filters, inner = weight.shape[:2]
    if inner * groups != source.channels or filters % groups:
        shape = list(weight.shape)
        raise refusal(site, f"{source.channels} channels with a weight {shape}, group {groups},")
    windows = conv_windows(site.spec, weight.shape[2:])
    pair = shared_from(build, site)
    if pair is not None:
        second, shared = pair
        build.done.add(second.node)
        weight, bias = shared.dense(), bias_of(second, len(shared.coefficients))
        _convolve(build, second, source, weight, bias, windows, 1, shared)
        return
    bias = bias_of(site, filters)
    _convolve(build, site, source, weight, bias, windows, groups)


def _gemm(build: Builder, site: Site) -> None:
    spec = site.spec
    weight = weights_of(site, 1) * np.float32(spec.real("alpha", 1))
    if not spec.integer("transB", 0):
        weight = weight.T
    bias = bias_of(site, len(weight)) * np.float32(spec.real("beta", 1))
    if not spec.integer("transA", 0):
        _dense(build, site, weight, bias)
        return
    inputs, rows = sizes_of(site.value(0), spec.where)
    turned = build.rearranged(
        build.value_of(site.value(0), spec.where), (rows, inputs, 1, 1), None, (1, rows, 1, 1)
    )
    _convolve(build, site, turned, _checked(site, weight, inputs), bias, ONE, 1)


def bias_of(site: Site, filters: int) -> Floats:
    """The third input, one number per filter; zeros where there is none."""
    if not site.spec.has_input(2):
        return np.zeros(filters, np.float32)
    given = weights_of(site, 2)
    try:
        return np.broadcast_to(given, (1, filters))[0]
    except ValueError:
        shape = list(given.shape)
        raise refusal(site, f"a bias {shape} for {filters} filters") from None


def _matrix(site: Site, array: Floats) -> Floats:
    """A constant of a product as a matrix."""
    if array.ndim < 2 or prod(array.shape[:-2]) != 1:
        raise refusal(site, f"a constant {list(array.shape)} in a product")
    return array.reshape(array.shape[-2:])


def _matmul(build: Builder, site: Site) -> None:
    left = constant_of(site.value(0))
    if left is None:
        right = weights_of(site, 1)
        weight = _matrix(site, right if right.ndim > 1 else right[:, None]).T
        _dense(build, site, weight, np.zeros(len(weight), np.float32))
        return
    # W x is a 1x1 convolution with W of each matrix (K, R), whose channels are its rows.
    weight = _matrix(site, left if left.ndim > 1 else left[None])
    sizes = sizes_of(site.value(1), site.spec.where)
    inputs, columns = (*sizes[-2:], 1)[:2]
    source = build.value_of(site.value(1), site.spec.where)
    source = build.shaped(source, (prod(sizes[:-2]), inputs, columns, 1))
    bias = np.zeros(len(weight), np.float32)
    _convolve(build, site, source, _checked(site, weight, inputs), bias, ONE, 1)


def _checked(site: Site, weight: Floats, inputs: int) -> Floats:
    """A matrix (outputs, inputs) as a 1x1 kernel."""
    if weight.ndim != 2 or weight.shape[1] != inputs:
        raise refusal(site, f"a product of {inputs} numbers and a matrix {list(weight.shape)}")
    return weight[:, :, None, None]


def _dense(build: Builder, site: Site, weight: Floats, bias: Floats) -> None:
    """A dense layer is a convolution whose kernel is as large as the image."""
    source = build.value_of(site.value(0), site.spec.where)
    sizes = sizes_of(site.value(0), site.spec.where)
    inputs, rows = sizes[-1], prod(sizes[:-1])
    weight = _checked(site, weight, inputs)
    if source.images != rows:
        source = build.rearranged(source, (rows, inputs, 1, 1))
    kernel = source.rows, source.columns
    shaped = weight.reshape(len(weight), source.channels, *kernel)
    windows = Windows(kernel, (1, 1), (1, 1), (0, 0), (0, 0))
    _convolve(build, site, source, shaped, bias, windows, 1)


def fields_of(site: Site, source: Value, windows: Windows) -> tuple[Part, dict[str, int | float]]:
    """What a convolution reads, with the border that it needs, and the fields of its step."""
    sizes = source.rows, source.columns
    before, after = windows.pads(sizes)
    rows, columns = windows.counts(sizes)
    if min(*before, *after) < 0:
        raise refusal(site, "negative padding")
    if min(rows, columns) < 1:
        raise refusal(site, f"an image {list(sizes)} smaller than its kernel")
    source.widen((*before, *after))
    return Part(source, row=-before[0], column=-before[1]), {
        "images": source.images, "rows": rows, "columns": columns,
        "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
        "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
        "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
        "input_rows": sizes[0], "input_columns": sizes[1],
        "top": before[0], "left": before[1], "bottom": after[0], "right": after[1],
    }  # fmt: skip


def _convolve(  # noqa: PLR0917 - one call's worth of a layer
    build: Builder, site: Site, source: Value, weight: Floats, bias: Floats, windows: Windows,
    groups: int, shared: Shared | None = None,
) -> None:  # fmt: skip
    x, fields = fields_of(site, source, windows)
    result, filters = site.node.outputs[0], len(weight)
    shape = source.images, filters, int(fields["rows"]), int(fields["columns"])
    if groups > 1 and weight.shape[1] == 1 and filters == groups:
        made = build.new(shape, source.lanes)
        operation = Operation(Op.DEPTHWISE, x, Part(made), None, {
            **fields, "blocks": len(source.lanes),
        }, {
            "weights": build.packing.per_lane(weight[:, 0], source.lanes).transpose(0, 2, 3, 1),
            "biases": build.packing.per_lane(bias, source.lanes),
        })  # fmt: skip
        build.end(site, operation, result, made)
        return
    made = build.new(shape)
    mask, result = mask_of(build, result, made)
    residual, result = _residual(build, result, made)
    *others, last = _parts(
        build, site, x, weight, bias, groups, fields, made, residual, mask, shared
    )
    activation = build.activation(result)
    for operation in others:
        operation.fields |= {} if activation is None else activation.fields
        build.operations.append(operation)
    build.end(site, last, result, made)


def _parts(  # noqa: PLR0917 - see above
    build: Builder, site: Site, x: Part, weight: Floats, bias: Floats, groups: int,
    fields: dict[str, int | float], made: Value, residual: Value | None, mask: Value | None,
    shared: Shared | None,
) -> list[Operation]:  # fmt: skip
    """The convolutions without groups that a convolution consists of."""
    source, found = x.value, list[Operation]()
    for part in build.packing.groups(source.lanes, weight, groups):
        first, filters = part.filter, len(part.weight)
        block = first // build.block
        operation = Operation(
            Op.CONV, Part(source, part.block, x.row, x.column), Part(made, block),
            None if residual is None else Part(residual, block),
            {**fields, "blocks": len(part.lanes), "filters": -(-filters // build.block)},
            {
                "lanes": np.array(part.lanes, np.int32),
                "biases": build.packing.per_lane(bias[first : first + filters]),
            },
            mask=None if mask is None else Part(mask),
        )  # fmt: skip
        build.convolution(site, operation, replace(part, shared=shared))
        found.append(operation)
    return found


def _residual(build: Builder, result: ir.Value, made: Value) -> tuple[Value | None, ir.Value]:
    """What is added to a convolution's result and to nothing else, if it is known by now."""
    reader = build.only_reader(result)
    if reader is None or reader.op_type != "Add" or not is_standard(reader):
        return None, result
    others = [value for value in reader.inputs if value is not result]
    found = build.known(others[0]) if len(others) == 1 else None
    # Shapes of the network and in memory: an operand of another rank would be spread.
    if found is None or others[0] is None or others[0].shape != result.shape:
        return None, result
    if (found.shape, found.lanes) != (made.shape, made.lanes):
        return None, result
    build.done.add(reader)
    return found, reader.outputs[0]


RULES: dict[str, Rule] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
