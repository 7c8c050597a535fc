"""Networks as operations of the kernels."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.library import Op
from mlcnn.engines.native.packing import Packing
from mlcnn.engines.native.program import Floats, Operation, Part, Value, standard_lanes
from mlcnn.engines.native.reading import (
    Shape,
    bias_of,
    bounds_of,
    constant_of,
    dense_strides,
    is_known,
    no_kernel,
    numbers_of,
    per_channel,
    rank_of,
    refusal,
    shape_of,
    sizes_of,
    weights_of,
)
from mlcnn.errors import UnsupportedError
from mlcnn.graph.operators import Windows, conv_windows, pool_windows
from mlcnn.nn.site import Site, site_of

__all__ = ["check", "lower"]

_CLIP = 0
_FUNCTIONS = {
    "Elu": 7, "Erf": 9, "Exp": 8, "Gelu": 6, "HardSwish": 5, "LeakyRelu": 1, "Sigmoid": 2,
    "Sqrt": 10, "Tanh": 3, "Abs": 11, "Swish": 4,
}  # fmt: skip
_BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5}
# They compute sizes from sizes, and are gone when those are known.
_SIZES = frozenset({
    "Cast", "Constant", "ConstantOfShape", "Expand", "Floor", "Gather", "Range", "Shape",
})  # fmt: skip
_POOL_MAX, _POOL_AVERAGE, _POOL_AVERAGE_PADDED = range(3)
_SAME = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def lower(model: ir.Model, *, block: int, group: int) -> list[Operation]:
    """The operations that compute a network.

    Args:
        model: standard operators only, every shape known; float32. Dense buffers are its inputs,
            then its outputs.
        block: channels of a block.
        group: blocks of filters that a convolution computes together.

    Raises:
        UnsupportedError: an operator, type, rank or attribute that the kernels lack; it names
            the node.
    """
    return _Lowering(model, block, group).operations


def check(model: ir.Model) -> None:
    """Refuse a network for which there are no kernels, whatever its inputs' sizes.

    Raises:
        UnsupportedError: an operator that is neither in the kernels nor computes sizes.
    """
    for node in model.graph:
        if (
            node.domain not in {"", "ai.onnx"}
            or node.op_type not in _LOWERED.keys() | _SAME | _SIZES
        ):
            raise no_kernel(site_of(node, model.opset_imports))


class _Lowering:
    def __init__(self, model: ir.Model, block: int, group: int) -> None:
        self._block, self._packing = block, Packing(block, group)
        self._opsets = model.opset_imports
        self._outputs = set(model.graph.outputs)
        # The same numbers in dense order: reshaped ones stay until blocks of that shape are needed.
        self._values: dict[ir.Value, Value] = {}
        self._done: set[ir.Node] = set()
        self.operations: list[Operation] = []
        inputs = [value for value in model.graph.inputs if not value.is_initializer()]
        for index, value in enumerate(inputs):
            packed = self._new(shape_of(value))
            self._values[value] = packed
            self._move(Op.PACK, packed, index)
        for node in model.graph:
            if node not in self._done and not all(map(is_known, node.outputs)):
                self._lower(node)
        for index, value in enumerate(model.graph.outputs, len(inputs)):
            self._move(Op.UNPACK, self._dense_order(value, f"output {value.name!r}"), index)

    # -- values

    def _new(self, shape: Shape, lanes: tuple[int, ...] | None = None) -> Value:
        images, channels, rows, columns = shape
        return Value(images, lanes or standard_lanes(channels, self._block), rows, columns)

    def _dense_order(self, value: ir.Value | None, where: str) -> Value:
        """What stands for a network's value: the same numbers, though in blocks of any shape."""
        found = None if value is None else self._values.get(value)
        if found is None:
            what = "nothing" if value is None else "a constant"
            raise UnsupportedError(f"native: {where}: it reads {what} where images are needed")
        return found

    def _blocked(self, value: ir.Value | None, where: str) -> Value:
        """The same in blocks of the value's own shape."""
        found = self._dense_order(value, where)
        if value is not None and found.shape != shape_of(value):
            found = self._values[value] = self._rearranged(found, shape_of(value))
        return found

    def _move(
        self, op: Op, value: Value, buffer: int, scratch: Value | None = None,
        strides: Shape | None = None,
    ) -> None:  # fmt: skip
        """Between blocks and a dense array: a buffer, or a value of our own."""
        part, array = Part(value), None if scratch is None else Part(scratch)
        operation = Operation(
            op, x=part if op == Op.UNPACK else None, y=part if op == Op.PACK else None, z=array,
            fields={
                "images": value.images, "blocks": len(value.lanes), "buffer": buffer,
                "rows": value.rows, "columns": value.columns,
            },
            strides=strides or dense_strides(value.shape),
            constants={"lanes": np.array(value.lanes, np.int32)},
        )  # fmt: skip
        self.operations.append(operation)

    def _rearranged(
        self, value: Value, shape: Shape, lanes: tuple[int, ...] | None = None,
        strides: Shape | None = None,
    ) -> Value:  # fmt: skip
        """The same numbers in another shape or other blocks.

        Args:
            value: what to copy.
            shape: the result's.
            lanes: the result's; by default full blocks.
            strides: in the dense order of ``value``; by default the dense order stays.
        """
        columns = -(-prod(value.shape) // self._block)
        scratch, made = Value(1, (self._block,), 1, columns), self._new(shape, lanes)
        self._move(Op.UNPACK, value, -1, scratch)
        self._move(Op.PACK, made, -1, scratch, strides)
        return made

    def _copied(self, value: Value) -> Value:
        made = self._new(value.shape, value.lanes)
        self._map(Part(value), Part(made))
        return made

    def _only_reader(self, value: ir.Value) -> ir.Node | None:
        readers = value.consumers()
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    # -- nodes

    def _lower(self, node: ir.Node) -> None:
        site = site_of(node, self._opsets)
        for value in node.outputs[1:]:
            if value.consumers() or value in self._outputs:
                raise refusal(site, "a second output")
        kind = node.op_type if site.spec.domain in {"", "ai.onnx"} else ""
        if kind in _SAME:
            value = self._dense_order(node.inputs[0], site.spec.where)
            self._values[node.outputs[0]] = value
            return
        lowered = _LOWERED.get(kind)
        if lowered is None:
            raise no_kernel(site)
        lowered(self, site)

    def _finish(self, operation: Operation, result: ir.Value, made: Value) -> None:
        """Add an operation, and let it clip what it writes where only that is done with it."""
        reader = self._only_reader(result)
        if reader is not None:
            bounds = bounds_of(site_of(reader, self._opsets))
            if bounds is not None:
                operation.fields["low"], operation.fields["high"] = bounds
                self._done.add(reader)
                result = reader.outputs[0]
        self.operations.append(operation)
        self._values[result] = made

    # -- convolutions and dense layers

    def conv(self, site: Site) -> None:
        weight, source = weights_of(site, 1), self._blocked(site.node.inputs[0], site.spec.where)
        if weight.ndim != 4:
            raise refusal(site, f"a {weight.ndim - 2}-D convolution")
        bias = bias_of(site, weight.shape[0])
        windows = conv_windows(site.spec, weight.shape[2:])
        self._convolve(site, source, weight, bias, windows, site.spec.integer("group", 1))

    def gemm(self, site: Site) -> None:
        spec = site.spec
        if spec.integer("transA", 0):
            raise refusal(site, "transA")
        weight = weights_of(site, 1) * np.float32(spec.real("alpha", 1))
        if not spec.integer("transB", 0):
            weight = weight.T
        bias = bias_of(site, weight.shape[0]) * np.float32(spec.real("beta", 1))
        self._dense(site, weight, bias)

    def matmul(self, site: Site) -> None:
        left = constant_of(site.node.inputs[0])
        if left is not None and left.ndim == 2:  # a 1x1 convolution of matrices (N, C, R)
            source = self._blocked(site.node.inputs[1], site.spec.where)
            windows = Windows((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
            bias = np.zeros(len(left), np.float32)
            self._convolve(site, source, left[:, :, None, None], bias, windows, 1)
            return
        weight = weights_of(site, 1)
        if weight.ndim != 2:
            raise refusal(site, "a batch of matrices")
        self._dense(site, weight.T, np.zeros(weight.shape[1], np.float32))

    def _dense(self, site: Site, weight: Floats, bias: Floats) -> None:
        """A dense layer is a convolution whose kernel is as large as the image."""
        value, outputs = site.node.inputs[0], weight.shape[0]
        source = self._dense_order(value, site.spec.where)
        sizes = sizes_of(value)
        if len(sizes) not in {2, 3} or sizes[-1] != weight.shape[1]:
            raise refusal(site, f"a product of {list(sizes)} and a matrix")
        rows = prod(sizes[:-1])
        if source.images != rows or prod(source.shape[1:]) != sizes[-1]:
            source = self._rearranged(source, (rows, sizes[-1], 1, 1))
        kernel = source.rows, source.columns
        shaped = weight.reshape(outputs, source.channels, *kernel)
        windows = Windows(kernel, (1, 1), (1, 1), (0, 0), (0, 0))
        self._convolve(site, source, shaped, bias, windows, 1)

    def _convolve(  # noqa: PLR0917 - one call's worth of a layer
        self, site: Site, source: Value, weight: Floats, bias: Floats, windows: Windows, groups: int
    ) -> None:
        result = site.node.outputs[0]
        before, after = windows.pads((source.rows, source.columns))
        if min(*before, *after) < 0:
            raise refusal(site, "negative padding")
        source.widen((*before, *after))
        filters, inner = weight.shape[:2]
        counts = windows.counts((source.rows, source.columns))
        fields = {
            "images": source.images, "rows": counts[0], "columns": counts[1],
            "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
            "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
            "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
        }  # fmt: skip
        x = Part(source, row=-before[0], column=-before[1])
        shape = source.images, filters, counts[0], counts[1]
        if groups > 1 and inner == 1 and filters == groups:
            made = self._new(shape, source.lanes)
            operation = Operation(Op.DEPTHWISE, x, Part(made), None, {
                **fields, "blocks": len(source.lanes),
            }, {
                "weights": self._packing.per_lane(weight[:, 0], source.lanes).transpose(0, 2, 3, 1),
                "biases": self._packing.per_lane(bias, source.lanes),
            })  # fmt: skip
            self._finish(operation, result, made)
            return
        made = self._new(shape)
        residual, result = self._residual(result, made)
        parts = self._packing.groups(source.lanes, weight, groups)
        for part in parts:
            first, lanes = part.filter, part.lanes
            operation = Operation(
                Op.CONV,
                Part(source, part.block, -before[0], -before[1]),
                Part(made, first // self._block),
                None if residual is None else Part(residual, first // self._block),
                {
                    **fields, "blocks": len(lanes), "filters": -(-len(part.weight) // self._block),
                    "chunk": self._packing.chunk(part.weight, source.images, counts[0] * counts[1]),
                },
                {
                    "lanes": np.array(lanes, np.int32),
                    "weights": self._packing.tiled(part.weight, lanes),
                    "biases": self._packing.per_lane(bias[first : first + len(part.weight)]),
                },
            )  # fmt: skip
            if part is not parts[-1]:
                bounds = self._clip_behind(result)
                if bounds is not None:
                    operation.fields["low"], operation.fields["high"] = bounds
                self.operations.append(operation)
            else:
                self._finish(operation, result, made)

    def _clip_behind(self, result: ir.Value) -> tuple[float, float] | None:
        reader = self._only_reader(result)
        return None if reader is None else bounds_of(site_of(reader, self._opsets))

    def _residual(self, result: ir.Value, made: Value) -> tuple[Value | None, ir.Value]:
        """What is added to a convolution's result and to nothing else, if it is known by now."""
        reader = self._only_reader(result)
        if reader is None or reader.op_type != "Add" or reader.domain not in {"", "ai.onnx"}:
            return None, result
        others = [value for value in reader.inputs if value is not result]
        found = self._values.get(others[0]) if len(others) == 1 and others[0] is not None else None
        fits = isinstance(found, Value) and (found.shape, found.lanes) == (made.shape, made.lanes)
        if not fits or not isinstance(found, Value):
            return None, result
        self._done.add(reader)
        return found, reader.outputs[0]

    # -- pools

    def pool(self, site: Site) -> None:
        windows = pool_windows(site.spec)
        source = self._blocked(site.node.inputs[0], site.spec.where)
        if len(windows.kernel) != 2:
            raise refusal(site, f"a {len(windows.kernel)}-D pool")
        mode = _POOL_MAX
        if site.node.op_type == "AveragePool":
            include = bool(site.spec.integer("count_include_pad", 0))
            mode = _POOL_AVERAGE_PADDED if include else _POOL_AVERAGE
        self._pool(site, source, windows, mode)

    def pool_all(self, site: Site) -> None:
        source = self._blocked(site.node.inputs[0], site.spec.where)
        if site.node.op_type == "ReduceMean":
            axes = site.spec.integers("axes")
            given = site.tensor(1)
            if axes is None and given is not None:
                axes = tuple(int(axis) for axis in given.flatten().tolist())
            if rank_of(site) != 4 or axes is None or sorted(a % 4 for a in axes) != [2, 3]:
                raise refusal(site, "a mean over other axes than rows and columns")
        windows = Windows((source.rows, source.columns), (1, 1), (1, 1), (0, 0), (0, 0))
        mode = _POOL_MAX if site.node.op_type == "GlobalMaxPool" else _POOL_AVERAGE
        self._pool(site, source, windows, mode)

    def _pool(self, site: Site, source: Value, windows: Windows, mode: int) -> None:
        sizes = source.rows, source.columns
        (top, left), (bottom, right) = windows.pads(sizes)
        rows, columns = windows.counts(sizes)
        made = self._new((source.images, source.channels, rows, columns), source.lanes)
        before = self._pool_before(site)
        operation = Operation(Op.POOL, None if before else Part(source), Part(made), None, {
            "mode": mode, "images": source.images, "blocks": len(source.lanes),
            "rows": rows, "columns": columns, "input_rows": sizes[0], "input_columns": sizes[1],
            "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
            "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
            "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
            "top": top, "left": left, "bottom": bottom, "right": right,
        })  # fmt: skip
        if before is not None:
            self.operations.remove(before)
            operation.z, before.y = before.x, None  # what the first reads stays until both are done
            before.fields["paired"] = 1
            self.operations.append(before)
        self._finish(operation, site.node.outputs[0], made)

    def _pool_before(self, site: Site) -> Operation | None:
        """The pool whose result this one alone reads: both together stay in the cache."""
        given = site.node.inputs[0]
        found = None if given is None else self._values.get(given)
        maker = None if given is None else given.producer()
        if given is None or maker is None or self._only_reader(given) is None:
            return None
        if maker.op_type in _SAME:  # the value may have readers by other names
            return None
        for operation in self.operations:
            if operation.op == Op.POOL and operation.y is not None and operation.y.value is found:
                # The other half of a pair reads what is not in memory.
                return None if operation.x is None else operation
        return None

    # -- element by element

    def _map(
        self, x: Part, y: Part, fields: dict[str, int | float] | None = None,
        scale: Floats | None = None, shift: Floats | None = None,
    ) -> Operation:  # fmt: skip
        """Append f(scale x + shift)."""
        lanes = x.value.lanes
        channels = x.value.channels
        ones = np.ones(channels, np.float32) if scale is None else scale
        zeros = np.zeros(channels, np.float32) if shift is None else shift
        operation = Operation(Op.MAP, x, y, None, {
            "mode": _CLIP, "images": x.value.images, "blocks": len(lanes),
            "rows": x.value.rows, "columns": x.value.columns, **(fields or {}),
        }, {
            "weights": self._packing.per_lane(ones, lanes),
            "biases": self._packing.per_lane(zeros, lanes),
        })  # fmt: skip
        self.operations.append(operation)
        return operation

    def _affine(self, site: Site, source: Value, scale: Floats, shift: Floats) -> None:
        made = self._new(source.shape, source.lanes)
        self._map(Part(source), Part(made), None, scale, shift)
        self._finish(self.operations.pop(), site.node.outputs[0], made)

    def function(self, site: Site) -> None:
        source = self._blocked(site.node.inputs[0], site.spec.where)
        made = self._new(source.shape, source.lanes)
        bounds, kind = bounds_of(site), site.node.op_type
        fields: dict[str, int | float] = {}
        scale = shift = None
        if bounds is not None:
            fields["low"], fields["high"] = bounds
        elif kind == "HardSigmoid":
            scale = np.full(source.channels, site.spec.real("alpha", 0.2), np.float32)
            shift = np.full(source.channels, site.spec.real("beta", 0.5), np.float32)
            fields["low"], fields["high"] = 0.0, 1.0
        elif kind == "Neg":
            scale = np.full(source.channels, -1, np.float32)
        elif kind in _FUNCTIONS:
            fields["mode"] = _FUNCTIONS[kind]
            fields["alpha"] = site.spec.real("alpha", 0.01 if kind == "LeakyRelu" else 1)
            exact = kind != "Gelu" or site.spec.text("approximate", "none") == "none"
            if not exact or (kind == "Swish" and fields["alpha"] != 1):
                raise refusal(site, "this variant")
        else:
            raise refusal(site, "a bound that is not constant")
        self._map(Part(source), Part(made), fields, scale, shift)
        self._values[site.node.outputs[0]] = made

    def norm(self, site: Site) -> None:
        source = self._blocked(site.node.inputs[0], site.spec.where)
        scale, bias, mean, variance = (weights_of(site, i).astype(np.float64) for i in range(1, 5))
        factor = scale / np.sqrt(variance + site.spec.real("epsilon", 1e-5))
        shift = bias - mean * factor
        self._affine(site, source, factor.astype(np.float32), shift.astype(np.float32))

    def binary(self, site: Site) -> None:
        node, kind = site.node, site.node.op_type
        if len(node.inputs) != 2:
            raise refusal(site, f"an operator of {len(node.inputs)} operands")
        constants = [constant_of(value) for value in node.inputs]
        if any(array is not None for array in constants):
            self._with_constant(site, constants)
            return
        x, z = (self._blocked(value, site.spec.where) for value in node.inputs)
        small = (x.images, x.channels, 1, 1)
        if x.shape != z.shape and x.shape == (z.images, z.channels, 1, 1):
            if kind not in {"Add", "Mul", "Max", "Min"}:
                raise refusal(site, "one operand spread over the other")
            x, z, small = z, x, x.shape
        if z.shape not in {x.shape, small}:
            raise refusal(site, f"combining shapes {x.shape} and {z.shape}")
        if z.lanes != x.lanes:
            z = self._rearranged(z, z.shape, x.lanes)
        step = 1 if z.shape == x.shape else 0
        made = self._new(x.shape, x.lanes)
        operation = Operation(
            Op.BINARY, Part(x), Part(made), Part(z, row_step=step, column_step=step),
            {
                "mode": _BINARY[kind], "images": x.images, "blocks": len(x.lanes),
                "rows": x.rows, "columns": x.columns,
            },
        )  # fmt: skip
        self._finish(operation, node.outputs[0], made)

    def _with_constant(self, site: Site, constants: Sequence[Floats | None]) -> None:
        kind, first = site.node.op_type, constants[0] is not None
        array = constants[0] if first else constants[1]
        given = site.node.inputs[1 if first else 0]
        sizes = sizes_of(given)
        if len(sizes) == 3 and array is not None and array.ndim == 1 and array.size > 1:
            source = self._dense_order(given, site.spec.where)
            shape = (prod(sizes[:-1]), sizes[-1], 1, 1)
            source = source if source.shape == shape else self._rearranged(source, shape)
            numbers = array if array.size == sizes[-1] else None
        else:
            source = self._blocked(given, site.spec.where)
            numbers = None if array is None else per_channel(array, site, source)
        if numbers is None or (kind == "Div" and first):
            raise refusal(site, "a constant that differs within a channel")
        ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
        if kind == "Add":
            self._affine(site, source, ones, numbers)
        elif kind == "Sub":
            self._affine(site, source, -ones if first else ones, numbers if first else -numbers)
        elif kind in {"Mul", "Div"}:
            factor = numbers if kind == "Mul" else np.float32(1) / numbers
            self._affine(site, source, factor.astype(np.float32), zeros)
        else:
            raise refusal(site, "a bound per channel")

    # -- moving

    def concat(self, site: Site) -> None:
        """Inputs become parts of the result; what is a part already, is copied."""
        node, result = site.node, site.node.outputs[0]
        shape = shape_of(result)
        if site.spec.integer("axis", 1) % max(len(result.shape or ()), 1) != 1:
            raise refusal(site, "another axis than the channels")
        lanes, values = list[int](), list[Value]()
        for given in node.inputs:
            value = self._blocked(given, site.spec.where)
            if value.whole is not None or value in values:
                value = self._copied(value)
            values.append(value)
        made = self._new(shape, tuple(count for value in values for count in value.lanes))
        for value in values:
            value.whole, value.block = made, len(lanes)
            lanes.extend(value.lanes)
        self._values[result] = made

    def transpose(self, site: Site) -> None:
        source = self._blocked(site.node.inputs[0], site.spec.where)
        rank = rank_of(site)
        order = site.spec.integers("perm") or tuple(reversed(range(rank)))
        if order[0] != 0:
            raise refusal(site, "moving the batch")
        steps = dense_strides(source.shape)
        strides = tuple(steps[axis] for axis in order) + (1,) * (4 - rank)
        images, channels, rows, columns = strides
        result = site.node.outputs[0]
        self._values[result] = self._rearranged(
            source, shape_of(result), None, (images, channels, rows, columns)
        )

    def slice(self, site: Site) -> None:
        source = self._blocked(site.node.inputs[0], site.spec.where)
        given = [site.tensor(index) for index in range(1, 5)]
        if (
            rank_of(site) != 4
            or given[0] is None
            or given[1] is None
            or any(
                value is not None and site.tensor(index) is None
                for index, value in enumerate(site.node.inputs)
                if index
            )
        ):
            raise refusal(site, "a bound that is not constant")
        starts, ends = (tensor.tolist() for tensor in given[:2] if tensor is not None)
        axes = range(len(starts)) if given[2] is None else given[2].tolist()
        steps = [1] * len(starts) if given[3] is None else given[3].tolist()
        ranges = [range(size) for size in source.shape]
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            ranges[axis % 4] = ranges[axis % 4][start:end:step]
        if any(len(ranges[axis]) != source.shape[axis] for axis in (0, 1)) or any(
            span.step < 1 or not span for span in ranges
        ):
            raise refusal(site, "a slice of other axes than rows and columns")
        rows, columns = ranges[2:]
        made = self._new((*source.shape[:2], len(rows), len(columns)), source.lanes)
        part = Part(source, 0, rows.start, columns.start, rows.step, columns.step)
        self._map(part, Part(made), {"rows": len(rows), "columns": len(columns)})
        self._values[site.node.outputs[0]] = made

    def pad(self, site: Site) -> None:
        """Zeros, and in their middle a copy."""
        source = self._blocked(site.node.inputs[0], site.spec.where)
        pads = numbers_of(site, 1, "pads")
        value = site.tensor(2)
        filled = site.spec.real("value", 0) if value is None else float(value)
        plain = site.spec.text("mode", "constant") == "constant" and filled == 0
        rank = len(site.node.outputs[0].shape or ())
        axes = site.tensor(3)
        if not plain or pads is None or rank != 4 or axes is not None or min(pads) < 0:
            raise refusal(site, "this way of padding")
        if pads[0] or pads[4]:
            raise refusal(site, "padding the batch")
        above = standard_lanes(pads[1], self._block)
        lanes = (*above, *source.lanes, *standard_lanes(pads[5], self._block))
        made = self._new(shape_of(site.node.outputs[0]), lanes)
        self.operations.append(
            Operation(Op.BORDER, y=Part(made, row=made.rows), fields={
                "images": made.images, "blocks": len(lanes), "top": made.rows,
            })
        )  # fmt: skip
        self._map(Part(source), Part(made, len(above), pads[2], pads[3]))
        self._values[site.node.outputs[0]] = made


_LOWERED: dict[str, Callable[[_Lowering, Site], None]] = {
    "AveragePool": _Lowering.pool,
    "BatchNormalization": _Lowering.norm,
    "Clip": _Lowering.function,
    "Concat": _Lowering.concat,
    "Conv": _Lowering.conv,
    "Gemm": _Lowering.gemm,
    "GlobalAveragePool": _Lowering.pool_all,
    "GlobalMaxPool": _Lowering.pool_all,
    "HardSigmoid": _Lowering.function,
    "MatMul": _Lowering.matmul,
    "MaxPool": _Lowering.pool,
    "Neg": _Lowering.function,
    "Pad": _Lowering.pad,
    "ReduceMean": _Lowering.pool_all,
    "Relu": _Lowering.function,
    "Slice": _Lowering.slice,
    "Transpose": _Lowering.transpose,
    **dict.fromkeys(_BINARY, _Lowering.binary),
    **dict.fromkeys(_FUNCTIONS, _Lowering.function),
}
