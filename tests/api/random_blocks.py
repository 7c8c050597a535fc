"""Blocks of random networks: places where a pool can reach convolutions, and what is seldom met."""

from collections.abc import Callable

import numpy as np
import onnx
from api.random_layers import Array, Value, Writer
from onnx import helper

__all__ = ["FUNCTION_DOMAIN", "Blocks"]

FUNCTION_DOMAIN = "mlcnn"
Block = Callable[[Value], Value]


class Blocks:
    """Adds blocks to what a writer has; a block takes a value and returns its output.

    Attributes:
        inputs: inputs of the network in its element type.
        extra: further inputs, with what is fed.
        outputs: outputs of the network besides the last value.
        functions: functions of the network's author.
        traits: what is special about the network.
    """

    def __init__(self, writer: Writer) -> None:
        self.w = writer
        self.inputs: dict[str, Value] = {}
        self.extra: list[tuple[onnx.ValueInfoProto, Array]] = []
        self.outputs: list[Value] = []
        self.functions: list[onnx.FunctionProto] = []
        self.traits: list[str] = []

    def weighted(self) -> dict[Block, int]:
        """The blocks and how common they are."""
        return {
            self.site: 10,
            self.active_site: 8,
            self.inception: 4,
            self.residual: 4,
            self.excitation: 2,
            self.twice: 2,
            self.plain: 4,
            self.other: 2,
            self.odd: 2,
        }

    def site(self, value: Value) -> Value:
        """A convolution and an average pool, with what an average commutes with between them."""
        w = self.w
        value = w.conv(value)
        for _ in range(w.one_of(0, 0, 0, 1, 1, 2, 3)):
            value = self.affine(value)
        value = self.average(value)
        return self.activation(value) if w.chance(0.5) else value

    def active_site(self, value: Value) -> Value:
        w = self.w
        value = w.conv(value)
        if w.chance(0.4):
            value = w.batch_norm(value)
        value = self.activation(value)
        if w.chance(0.5):
            return self.average(value)
        value = w.pool(value, "MaxPool", plain=w.chance(0.4))
        return self.activation(value) if w.chance(0.2) else value

    def affine(self, value: Value) -> Value:
        w = self.w
        kind = w.one_of("norm", "norm", "scale", "scale", "dropout", "identity")
        if kind == "norm":
            return w.batch_norm(value)
        if kind == "scale":
            return w.per_channel(value)
        if kind == "identity":
            return w.node("Identity", [value.name], value.shape)
        return self.dropout(value)

    def dropout(self, value: Value) -> Value:
        w = self.w
        if w.opset < 12:
            return w.node("Dropout", [value.name], value.shape, ratio=0.3)
        inputs = [value.name]
        if w.chance(0.6):
            inputs.append(w.shared(np.asarray(0.3, np.float32)))
            if w.chance(0.5):
                inputs.append(w.shared(np.asarray(False)))
        return w.node("Dropout", inputs, value.shape)

    def average(self, value: Value) -> Value:
        w, axes = self.w, list(range(2, len(value.shape)))
        kind = w.one_of("pool", "pool", "pool", "pool", "plain", "plain", "twice", "global", "mean")
        if kind == "global":
            return w.global_pool(value, "GlobalAveragePool")
        if kind == "mean":
            axes = w.one_of(axes, [axis - len(value.shape) for axis in axes], axes[::-1])
            return w.reduce(value, "ReduceMean", axes, keepdims=True)
        value = w.pool(value, "AveragePool", plain=kind == "plain")
        return w.pool(value, w.one_of("AveragePool", "MaxPool")) if kind == "twice" else value

    def activation(self, value: Value) -> Value:
        w, name, shape = self.w, value.name, value.shape
        kind = w.one_of(
            "Relu", "Relu", "Relu", "LeakyRelu", "Clip", "Clip", "HardSwish", "SiLU", "PRelu",
            "Sigmoid", "Elu", "Selu", "Softplus", "Tanh", "Abs", "Erf",
        )  # fmt: skip
        if kind == "Clip":
            return self.clip(value)
        if kind == "SiLU" or (kind == "HardSwish" and w.opset < 14):
            gate = w.node("Sigmoid" if kind == "SiLU" else "HardSigmoid", [name], shape)
            return w.node("Mul", [name, gate.name] if w.chance(0.5) else [gate.name, name], shape)
        if kind == "PRelu":
            slope = w.arrays.uniform(0.1, 0.4, (shape[1], *[1] * (len(shape) - 2)))
            return w.node("PRelu", [name, w.weight(slope)], shape)
        alpha = 0.2 if kind == "LeakyRelu" and w.chance(0.5) else None
        if kind == "Erf":
            return self.gelu(value)
        return w.node(kind, [name], shape, alpha=alpha)

    def gelu(self, value: Value) -> Value:
        """As exporters spell it out."""
        w, shape = self.w, value.shape
        inner = w.node("Div", [value.name, w.weight(np.asarray(2**0.5))], shape)
        inner = w.node("Erf", [inner.name], shape)
        inner = w.node("Add", [inner.name, w.weight(np.asarray(1.0))], shape)
        half = w.node("Mul", [value.name, w.weight(np.asarray(0.5))], shape)
        return w.node("Mul", [half.name, inner.name], shape)

    def clip(self, value: Value) -> Value:
        w = self.w
        if w.opset < 11:
            high = 6.0 if w.chance(0.7) else None
            return w.node("Clip", [value.name], value.shape, min=0.0, max=high)
        bounds = [w.shared(np.asarray(number, w.dtype)) for number in (-0.5, 3.0)]
        names = w.one_of([*bounds], [bounds[0]], ["", bounds[1]])
        return w.node("Clip", [value.name, *names], value.shape)

    def _same(self, value: Value, filters: int = 0) -> Value:
        """A convolution that keeps height and width."""
        w = self.w
        value = w.conv(value, filters, kernel=w.one_of(1, 1, 3), same=True)
        return w.batch_norm(value) if w.chance(0.3) else value

    def inception(self, value: Value) -> Value:
        w = self.w
        active = w.chance(0.4)
        branches: list[Value] = []
        for _ in range(w.random.randint(2, 3)):
            branch = self._same(value) if w.chance(0.9) else value
            branches.append(self.activation(branch) if active else branch)
        channels = sum(branch.shape[1] for branch in branches)
        shape = (value.shape[0], channels, *value.shape[2:])
        axis = w.one_of(1, 1, 1 - len(shape))
        value = w.node("Concat", [branch.name for branch in branches], shape, axis=axis)
        return self.average(value) if w.chance(0.7) else value

    def residual(self, value: Value) -> Value:
        w = self.w
        filters = w.one_of(value.shape[1], value.shape[1] + 1)
        left = self._same(value, filters)
        if w.chance(0.3):
            left = self._same(self.activation(left), filters)
        right = self._same(value, filters)
        if filters == value.shape[1] and w.chance(0.5):
            right = value
        value = w.node("Add", [left.name, right.name], left.shape)
        if w.chance(0.3):
            value = self.activation(value)
        return self.average(value) if w.chance(0.7) else value

    def twice(self, value: Value) -> Value:
        """One value behind a convolution, used by a pool and by something else."""
        w = self.w
        value = self.affine(w.conv(value)) if w.chance(0.5) else w.conv(value)
        self.outputs.append(self.average(value))
        kind = w.one_of("activation", "pool", "output", "body")
        if kind == "output":
            self.outputs.append(value)
        if kind == "body" and w.features.casts:
            self.outputs.append(self.branch(value))
        return self.average(value) if kind == "pool" else self.activation(value)

    def plain(self, value: Value) -> Value:
        w = self.w
        kind = w.one_of("conv", "norm", "affine", "activation", "average", "max", "pad", "slice")
        if kind in {"pad", "slice"}:
            return self.pad(value) if kind == "pad" else self.slice(value)
        if kind == "max":
            return w.pool(value, "MaxPool")
        layers = {"conv": w.conv, "norm": w.batch_norm, "average": self.average}
        return layers.get(kind, self.affine if kind == "affine" else self.activation)(value)

    def excitation(self, value: Value) -> Value:
        """Channels weighed by what a global pool and a convolution say."""
        w = self.w
        value = self.activation(w.conv(value))
        gate = w.conv(
            w.global_pool(value, "GlobalAveragePool"), value.shape[1], kernel=1, same=True
        )
        gate = w.node("Sigmoid", [gate.name], gate.shape)
        inputs = [value.name, gate.name]
        value = w.node("Mul", inputs if w.chance(0.5) else inputs[::-1], value.shape)
        return self.average(value) if w.chance(0.5) else value

    def other(self, value: Value) -> Value:
        """Layers that no rewrite knows, between those that it does."""
        w, rank = self.w, len(value.shape)
        kind = w.one_of("transpose", "mean of one", "split", "sum", "lrn", "up", "cast", "negative")
        self.traits.append(kind)
        if kind == "transpose":
            order = [0, *range(2, rank), 1]
            shape = [value.shape[axis] for axis in order]
            last = w.node("Transpose", [value.name], shape, perm=order)
            last = w.reduce(last, "ReduceMean", list(range(1, rank - 1)), keepdims=True)
            self.outputs.append(last)
            return value
        if kind == "mean of one":
            axes = w.one_of([2], [-1], [1], list(range(1, rank)))
            self.outputs.append(w.reduce(w.conv(value), "ReduceMean", axes, keepdims=w.chance(0.5)))
            return value
        if kind == "split" and value.shape[1] > 1:
            return self.split(value)
        if kind == "sum":
            branches = [self._same(value, 3).name for _ in range(w.random.randint(1, 3))]
            shape = (value.shape[0], 3, *value.shape[2:])
            return self.average(w.node(w.one_of("Sum", "Mean", "Max"), branches, shape))
        if kind == "lrn":
            return w.node("LRN", [value.name], value.shape, size=3)
        if kind == "up":
            shape = (*value.shape[:2], *(2 * size for size in value.shape[2:]))
            scales = w.shared(np.asarray([1, 1, *[2] * (rank - 2)], np.float32))
            empty = [""] if w.opset >= 11 else []
            value = w.node("Resize", [value.name, *empty, scales], shape, mode="nearest")
            return w.pool(value, "AveragePool", plain=True)
        if kind == "cast" and w.features.casts:
            own = helper.np_dtype_to_tensor_dtype(np.dtype(w.dtype))
            value = w.node("Cast", [value.name], value.shape, to=onnx.TensorProto.FLOAT)
            return w.node("Cast", [value.name], value.shape, to=own)
        return w.node("Neg", [value.name], value.shape)

    def split(self, value: Value) -> Value:
        w, channels = self.w, value.shape[1]
        sizes = [1, channels - 1]
        inputs, attribute = [value.name], sizes
        if w.opset >= 13:
            inputs, attribute = [value.name, w.integers(*sizes)], None
        shapes = [(value.shape[0], size, *value.shape[2:]) for size in sizes]
        second = f"second{w.count}"
        first = w.node("Split", inputs, shapes[0], axis=1, split=attribute, extra_outputs=[second])
        left, right = self._same(first), Value(second, shapes[1])
        shape = (value.shape[0], left.shape[1] + sizes[1], *value.shape[2:])
        return self.average(w.node("Concat", [left.name, right.name], shape, axis=1))

    def pad(self, value: Value) -> Value:
        w, rank = self.w, len(value.shape) - 2
        pads = [w.random.randint(0, 2) for _ in range(2 * rank)]
        shape = [size + pads[i] + pads[i + rank] for i, size in enumerate(value.shape[2:])]
        every = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
        if w.opset < 11:
            number = 0.5 if w.chance(0.3) else None
            return w.node("Pad", [value.name], (*value.shape[:2], *shape), pads=every, value=number)
        inputs = [value.name, w.integers(*every)]
        if w.chance(0.3):
            inputs.append(w.shared(np.asarray(0.5, w.dtype)))
        return w.node("Pad", inputs, (*value.shape[:2], *shape))

    def slice(self, value: Value) -> Value:
        w = self.w
        axis = len(value.shape) - 1
        start, stop = (1, value.shape[axis]) if w.chance(0.5) else (0, value.shape[axis] - 1)
        shape = (*value.shape[:axis], stop - start)
        if w.opset < 10:
            attributes = {"starts": [start], "ends": [stop], "axes": [axis]}
            return w.node("Slice", [value.name], shape, **attributes)
        inputs = [w.integers(number) for number in (start, stop, axis)]
        return w.node("Slice", [value.name, *inputs], shape)

    def odd(self, value: Value) -> Value:
        """What networks seldom have: a body, a function, strings, a second input, a cast."""
        kinds = {
            "strings": self.strings,
            "second input": self.second_input,
            "fed weight": self.fed_weight,
            "unused": self.unused,
        }
        if self.w.features.casts:
            kinds["if"] = self.branch
        if self.w.opset >= 15:
            kinds["function"] = self.function
        kind = self.w.one_of(*kinds)
        self.traits.append(kind)
        return kinds[kind](value)

    def branch(self, value: Value) -> Value:
        """An ``If`` by an input; its bodies read values and weights from outside."""
        w = self.w
        element = helper.np_dtype_to_tensor_dtype(np.dtype(w.dtype))
        kernel = w.weight(w.normal(value.shape[1], value.shape[1], *[1] * (len(value.shape) - 2)))
        bodies = []
        for name, node in (
            ("then", helper.make_node("Conv", [value.name, kernel], ["then out"])),
            ("else", helper.make_node("Neg", [value.name], ["else out"])),
        ):
            output = helper.make_tensor_value_info(f"{name} out", element, None)
            bodies.append(helper.make_graph([node], name, [], [output]))
        condition = f"condition{w.count}"
        info = helper.make_tensor_value_info(condition, onnx.TensorProto.BOOL, [])
        self.extra.append((info, np.asarray(w.chance(0.5))))
        return w.node(
            "If",
            [condition],
            value.shape,
            then_branch=bodies[0],
            else_branch=bodies[1],
        )

    def strings(self, value: Value) -> Value:
        w = self.w
        names = helper.make_tensor("names", onnx.TensorProto.STRING, [2], [b"cat", b"dog"])
        constant = w.node("Constant", [], (2,), value=names)
        self.outputs.append(w.node("Identity", [constant.name], (2,)))
        return value

    def second_input(self, value: Value) -> Value:
        w = self.w
        name = f"side{w.count}"
        self.inputs[name] = Value(name, value.shape)
        return w.node(w.one_of("Add", "Mul"), [value.name, name], value.shape)

    def fed_weight(self, value: Value) -> Value:
        """A convolution whose weight is no constant."""
        w, name = self.w, f"kernel{self.w.count}"
        array = w.normal(2, value.shape[1], *[1] * (len(value.shape) - 2)).astype(w.dtype)
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.extra.append((helper.make_tensor_value_info(name, element, array.shape), array))
        shape = (value.shape[0], 2, *value.shape[2:])
        return self.average(w.node("Conv", [value.name, name], shape))

    def unused(self, value: Value) -> Value:
        """Nodes, a weight and an input that nothing needs."""
        w = self.w
        w.shared(np.zeros((2, 3), w.dtype))
        self.average(w.conv(value))
        name = f"side{w.count}"
        self.inputs[name] = Value(name, value.shape)
        return value

    def function(self, value: Value) -> Value:
        """A function of the author's, in a domain that happens to be the tool's own."""
        w = self.w
        name = w.one_of("Leaky", "ConvPoolBox", "ConvPoolMatVec")
        if name not in {item.name for item in self.functions}:
            node = helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.3)
            opsets = [helper.make_opsetid("", w.opset)]
            self.functions.append(
                helper.make_function(FUNCTION_DOMAIN, name, ["a"], ["b"], [node], opsets)
            )
        return w.node(name, [value.name], value.shape, domain=FUNCTION_DOMAIN)
