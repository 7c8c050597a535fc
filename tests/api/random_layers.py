"""Writes random layers, one ONNX node or a few at a time, in the form that an opset wants."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["Array", "Features", "Value", "Writer"]

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]


class Value(NamedTuple):
    """A value of the network and the shape that it has at run time."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Features:
    """What a network may have besides plain layers.

    Attributes:
        naming: ``plain``, ``empty`` (nodes without names), ``spaces``, or ``clash`` (values that
            have the names which a rewrite would give to its own).
        weights: how weights are stored, drawn anew for each one.
        tiny: factor of the weights, for half-precision networks.
        casts: whether ``If`` and ``Cast`` may occur: what judges double networks has no bodies, and
            computes everything in double precision.
    """

    naming: str = "plain"
    weights: tuple[str, ...] = ("initializer",)
    tiny: float = 1.0
    casts: bool = True


_ROLES = ("bias", "weight", "box", "means", "scale", "axes", "starts", "ends", "taps", "shape")


@dataclass
class Writer:
    """Collects nodes and weights; every method that adds a layer returns its output."""

    random: random.Random
    arrays: np.random.Generator
    opset: int
    dtype: Any = np.float32
    features: Features = field(default_factory=Features)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    overridable: list[onnx.ValueInfoProto] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    kept: dict[tuple[int, ...], str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    count: int = 0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def one_of(self, *options: T) -> T:
        return self.random.choice(options)

    def node(
        self, op_type: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any
    ) -> Value:
        """A node with one output that is used."""
        self.count += 1
        domain = attributes.pop("domain", "")
        extra = attributes.pop("extra_outputs", ())
        output = self._free_name()
        odd = f"my {op_type}={self.count}+%3D{{a,b}} é"
        names = {"empty": "", "spaces": odd}
        name = names.get(self.features.naming, f"{op_type.lower()}{self.count}")
        node = helper.make_node(op_type, inputs, [output, *extra], name, domain=domain)
        node.attribute.extend(
            helper.make_attribute(key, value)
            for key, value in attributes.items()
            if value is not None
        )
        self.nodes.append(node)
        value = Value(output, tuple(shape))
        self.values.append(value)
        self.layers.append(name or output)
        return value

    def _free_name(self) -> str:
        if self.features.naming == "clash" and self.layers:
            name = f"{self.random.choice(self.layers)}.{self.random.choice(_ROLES)}"
            if self.chance(0.2):
                name += "_1"
            if name not in self.used:
                self.used.add(name)
                return name
        return f"value {self.count}" if self.features.naming == "spaces" else f"v{self.count}"

    def shared(self, array: Array) -> str:
        """A plain initializer, whatever its type."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *numbers: int) -> str:
        """An int64 vector, as initializer or by a ``Constant`` node."""
        array = np.asarray(numbers, np.int64)
        if self.chance(0.7):
            return self.shared(array)
        return self._constant(array)

    def _constant(self, array: Array) -> str:
        name = f"k{len(self.nodes)}"
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        self.nodes.append(node)
        return name

    def weight(self, array: Array, name: str = "") -> str:
        """A floating-point weight, stored in one of the ways that the network has."""
        array = np.asarray(array).astype(self.dtype)
        kind = self.one_of(*self.features.weights)
        if kind == "constant":
            return self._constant(array)
        if kind == "filled":
            return self._filled(array)
        name = name if name and name not in self.used else f"w{len(self.initializers)}"
        self.used.add(name)
        self.initializers.append(numpy_helper.from_array(array, name))
        if kind == "input":
            element = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.overridable.append(helper.make_tensor_value_info(name, element, array.shape))
        if kind in {"Identity", "Reshape"}:
            inputs = [name]
            if kind == "Reshape":
                inputs.append(self.shared(np.asarray(array.shape, np.int64)))
            self.nodes.append(helper.make_node(kind, inputs, [f"{name}/{kind}"]))
            return f"{name}/{kind}"
        return name

    def _filled(self, array: Array) -> str:
        """One number at every place: by ``ConstantOfShape``, or by ``Expand``."""
        shape = self.shared(np.asarray(array.shape, np.int64))
        number = np.abs(array.reshape(-1)[:1]) + array.dtype.type(0.5)
        name = f"f{len(self.nodes)}"
        if self.chance(0.5):
            filled = numpy_helper.from_array(number)
            node = helper.make_node("ConstantOfShape", [shape], [name], value=filled)
        else:
            node = helper.make_node("Expand", [self.shared(number), shape], [name])
        self.nodes.append(node)
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return self.arrays.standard_normal(shape) * scale * self.features.tiny

    # Layers over an (N, C, *sizes) value.

    def window(self, sizes: Sequence[int], largest: int) -> tuple[list[int], list[int], list[int]]:
        """Kernel, dilations and pads of a window that fits into the padded sizes."""
        kernel, dilations, pads = [], [], []
        for size in sizes:
            length = self.random.randint(1, largest)
            # Over one element, a dilated window of a pool can see nothing but padding.
            dilation = self.one_of(1, 1, 1, 1, 2) if size > 1 else 1
            before, after = (self.random.randint(0, length // 2) for _ in range(2))
            if (length - 1) * dilation + 1 > size + before + after:
                length, dilation, before, after = 1, 1, 0, 0
            kernel.append(length)
            dilations.append(dilation)
            pads.append((before, after))
        return kernel, dilations, [p[0] for p in pads] + [p[1] for p in pads]

    def conv(
        self, source: Value, filters: int = 0, *, kernel: int = 0, same: bool = False
    ) -> Value:
        """A convolution of any geometry; ``same`` keeps height and width."""
        channels, sizes = source.shape[1], source.shape[2:]
        filters = filters or self.random.randint(1, 6)
        groups = 1
        if self.chance(0.2):
            groups = self.one_of(*(g for g in range(1, channels + 1) if channels % g == 0))
            filters = max(filters // groups, 1) * groups if not same else filters
            groups = groups if filters % groups == 0 else 1
        length, dilations, pads = self.window(sizes, 4)
        strides = [self.one_of(1, 1, 1, 2, 3) for _ in sizes]
        if same:
            length, dilations, strides = [kernel] * len(sizes), [1] * len(sizes), [1] * len(sizes)
            pads = [kernel // 2] * 2 * len(sizes)
        auto = (
            "NOTSET"
            if same or self.chance(0.8)
            else self.one_of("VALID", "SAME_UPPER", "SAME_LOWER")
        )
        if auto != "NOTSET":  # ONNX Runtime refuses dilations where it pads by itself
            pads = [0] * len(pads)
            length = [min(k, s) for k, s in zip(length, sizes, strict=True)]
            dilations = [1] * len(sizes)
        extents = [(k - 1) * d + 1 for k, d in zip(length, dilations, strict=True)]
        shape = [
            -(-size // stride)
            if auto.startswith("SAME")
            else (size + pads[i] + pads[i + len(sizes)] - extent) // stride + 1
            for i, (size, stride, extent) in enumerate(zip(sizes, strides, extents, strict=True))
        ]
        fan_in = channels // groups * int(np.prod(length))
        layer = f"layer{self.count + 1}"
        shared = self.kept.get((filters, channels // groups, *length))
        if shared is None or self.chance(0.6):
            weight = self.normal(filters, channels // groups, *length, scale=fan_in**-0.5)
            shared = self.weight(weight, f"{layer}.weight")
            self.kept[filters, channels // groups, *length] = shared
        inputs = [source.name, shared]
        if self.chance(0.5):
            inputs.append(self.weight(self.normal(filters), f"{layer}.bias"))
        elif self.chance(0.1):
            inputs.append("")
        return self.node(
            "Conv",
            inputs,
            (source.shape[0], filters, *shape),
            kernel_shape=length if self.chance(0.7) else None,
            strides=strides if max(strides) > 1 or self.chance(0.5) else None,
            dilations=dilations if max(dilations) > 1 or self.chance(0.5) else None,
            pads=pads if auto == "NOTSET" and (max(pads) or self.chance(0.5)) else None,
            auto_pad=auto if auto != "NOTSET" or self.chance(0.1) else None,
            group=groups if groups > 1 or self.chance(0.3) else None,
        )

    def pool(self, source: Value, op_type: str, *, plain: bool = False) -> Value:
        """A pool of any geometry; a plain one has windows side by side."""
        sizes = source.shape[2:]
        rank = len(sizes)
        kernel, dilations, pads = self.window(sizes, 4)
        strides = [self.one_of(1, 2, 2, 3) for _ in sizes]
        if plain or self.chance(0.3):
            kernel = strides = [min(self.one_of(2, 2, 3), *sizes)] * rank
            dilations, pads = [1] * rank, [0] * 2 * rank
        if self.opset < {"MaxPool": 10, "AveragePool": 19}[op_type]:
            dilations = [1] * rank
        pads = [min(pad, kernel[i % rank] - 1) for i, pad in enumerate(pads)]
        auto = (
            "NOTSET"
            if plain or self.chance(0.85)
            else self.one_of("VALID", "SAME_UPPER", "SAME_LOWER")
        )
        if auto != "NOTSET":
            pads, dilations = [0] * 2 * rank, [1] * rank
            kernel = [min(k, s) for k, s in zip(kernel, sizes, strict=True)]
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if any(
            e > s + pads[i] + pads[i + rank]
            for i, (e, s) in enumerate(zip(extents, sizes, strict=True))
        ):
            kernel, dilations, pads, extents = [1] * rank, [1] * rank, [0] * 2 * rank, [1] * rank
        ceil = self.opset >= 10 and not plain and self.chance(0.3)
        shape = [
            -(-size // strides[i])
            if auto.startswith("SAME")
            else _pooled(size, extents[i], strides[i], (pads[i], pads[i + rank]), ceil=ceil)
            for i, size in enumerate(sizes)
        ]
        counts = op_type == "AveragePool" and self.chance(0.4)
        return self.node(
            op_type,
            [source.name],
            (*source.shape[:2], *shape),
            kernel_shape=kernel,
            strides=strides if max(strides) > 1 or self.chance(0.5) else None,
            dilations=dilations if max(dilations) > 1 else None,
            pads=pads if auto == "NOTSET" and (max(pads) or self.chance(0.5)) else None,
            auto_pad=auto if auto != "NOTSET" else None,
            ceil_mode=1 if ceil else None,
            count_include_pad=1 if counts else None,
        )

    def reduce(self, source: Value, op_type: str, axes: list[int], *, keepdims: bool) -> Value:
        """A reduction, with its axes as an attribute or as an input."""
        dropped = {axis % len(source.shape) for axis in axes}
        shape = [
            1 if i in dropped else size
            for i, size in enumerate(source.shape)
            if keepdims or i not in dropped
        ]
        inputs, attribute = [source.name], axes
        if self.opset >= 18:
            inputs, attribute = [*inputs, self.integers(*axes)], None
        keep = 1 if keepdims else 0
        return self.node(
            op_type,
            inputs,
            shape,
            axes=attribute,
            keepdims=keep if not keep or self.chance(0.5) else None,
        )

    def global_pool(self, source: Value, op_type: str) -> Value:
        shape = (*source.shape[:2], *[1] * (len(source.shape) - 2))
        return self.node(op_type, [source.name], shape)

    def batch_norm(self, source: Value) -> Value:
        channels = source.shape[1]
        variance = self.arrays.uniform(0.3, 2.0, channels)
        arrays = [
            self.arrays.uniform(0.5, 1.5, channels),
            self.normal(channels),
            self.normal(channels),
        ]
        layer = f"norm{self.count + 1}"
        roles = ("weight", "bias", "running_mean", "running_var")
        names = [
            self.weight(array, f"{layer}.{role}")
            for array, role in zip([*arrays, variance], roles, strict=True)
        ]
        epsilon = 1e-3 if self.chance(0.5) else None
        return self.node("BatchNormalization", [source.name, *names], source.shape, epsilon=epsilon)

    def per_channel(self, source: Value) -> Value:
        """A constant per channel, or one for all, added or multiplied."""
        op_type = self.one_of("Add", "Mul", "Sub", "Div")
        rank = len(source.shape) - 2
        array = self.arrays.uniform(0.5, 1.5, (source.shape[1], *[1] * rank))
        array = self.one_of(array, array[None], array[:1], array.reshape(-1)[0])
        inputs = [source.name, self.weight(array)]
        return self.node(op_type, inputs if self.chance(0.8) else inputs[::-1], source.shape)

    def dense(self, source: Value, filters: int) -> Value:
        """Gemm of an (N, C) value, or MatMul and Add."""
        features = source.shape[1]
        array = self.normal(features, filters, scale=features**-0.5)
        bias = self.normal(filters)
        shape = (source.shape[0], filters)
        if self.chance(0.5):
            product = self.node("MatMul", [source.name, self.weight(array)], shape)
            return self.node("Add", [product.name, self.weight(bias)], shape)
        transposed = self.chance(0.5)
        matrix = self.weight(array.T if transposed else array, f"dense{self.count}.weight")
        inputs = [source.name, matrix]
        if self.opset < 11 or self.chance(0.7):  # the bias became optional
            inputs.append(self.weight(bias))
        alpha = 0.5 if self.chance(0.2) else None
        return self.node("Gemm", inputs, shape, transB=int(transposed), alpha=alpha)


def _pooled(size: int, extent: int, stride: int, pads: tuple[int, int], *, ceil: bool) -> int:
    """Outputs of a pool; a window that would start behind the input and its first pad is none."""
    room = size + sum(pads) - extent
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count
