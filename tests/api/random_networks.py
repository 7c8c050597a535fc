"""Random valid networks at opsets 9 to 23, with many places where a pool can reach a convolution.

Every network follows from its seed alone; what it computes, ONNX Runtime says.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from api.random_blocks import FUNCTION_DOMAIN, Blocks
from api.random_layers import Array, Features, Value, Writer
from onnx import helper

__all__ = ["OPSETS", "RandomNetwork", "Results", "accepted", "random_network", "run"]

OPSETS = range(9, 24)
_IR = {9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
_NEWEST_IR = 11

Results = dict[str, Array]


@dataclass(frozen=True)
class RandomNetwork:
    """A network and inputs for it.

    Attributes:
        seed: repeats it.
        proto: the network.
        inputs: what it is run on, by name.
        images: those of them that have a batch.
        traits: what is special about it, for the message of a failing test.
    """

    seed: int
    proto: onnx.ModelProto
    inputs: dict[str, Array]
    images: frozenset[str]
    traits: tuple[str, ...]

    @property
    def dynamic(self) -> bool:
        return "dynamic batch" in self.traits


def random_network(seed: int, *, dtype: Any = None) -> RandomNetwork:
    """The network of a seed.

    Args:
        seed: any number.
        dtype: its element type; by default drawn, too.
    """
    draw = random.Random(seed)
    opset = draw.choice(OPSETS)
    drawn = draw.choices([np.float32, np.float16, np.float64], [8, 1, 1])[0]
    features = _features(draw, drawn)
    arrays = np.random.default_rng(seed)
    writer = Writer(draw, arrays, opset, dtype or drawn, features)
    rank = draw.choices([2, 1, 3], [18, 1, 1])[0]
    side = {1: 20, 2: 14, 3: 7}[rank]
    sizes = [draw.randint(side // 2, side) for _ in range(rank)]
    if draw.random() < 0.5:
        sizes = [sizes[0]] * rank
    source = Value("input", (draw.randint(1, 3), draw.randint(1, 5), *sizes))
    network = _Network(writer, source)
    value = network.body(source)
    network.outputs.append(network.head(value))
    return network.finish(seed)


def _features(draw: random.Random, dtype: Any) -> Features:
    naming = draw.choices(["plain", "empty", "spaces", "clash"], [6, 2, 1, 2])[0]
    ways = ("constant", "filled", "Identity", "Reshape", "input")
    weights = ("initializer",) * 6
    if draw.random() < 0.3:
        weights += (draw.choice(ways),) * 2
    tiny = draw.choice([1.0, 1.0, 1e-2, 1e-4]) if dtype is np.float16 else 1.0
    return Features(naming, weights, tiny, casts=dtype is not np.float64)


def run(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> Results:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def accepted(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> Results | None:
    """The same; None if ONNX Runtime refuses the network, or a result is not finite."""
    try:
        results = run(proto, inputs)
    except Exception:  # noqa: BLE001 (each status has a class of its own)
        return None
    numbers = [array for array in results.values() if array.dtype != object]
    return results if all(np.isfinite(array).all() for array in numbers) else None


class _Network:
    def __init__(self, writer: Writer, source: Value) -> None:
        self.w, self.source = writer, source
        self.blocks = Blocks(writer)
        self.blocks.inputs[source.name] = source
        self.outputs = self.blocks.outputs

    def body(self, value: Value) -> Value:
        w, functions = self.w, self.blocks.weighted()
        for _ in range(w.random.randint(1, 4)):
            if min(value.shape[2:]) < 2:
                break
            value = w.random.choices(list(functions), list(functions.values()))[0](value)
            if w.chance(0.12):
                self.outputs.append(value)
        return value

    def head(self, value: Value) -> Value:
        w, rank = self.w, len(value.shape)
        kind = w.one_of("none", "none", "pool", "pool", "mean", "flatten", "softmax")
        if kind == "none" or rank < 3:
            return value
        if kind == "softmax":
            return w.node("Softmax", [value.name], value.shape, axis=w.one_of(None, 1))
        if kind == "mean":
            axes = list(range(2, rank))
            value = w.reduce(value, w.one_of("ReduceMean", "ReduceMax"), axes, keepdims=False)
            return w.dense(value, 3)
        if kind == "pool":
            value = w.global_pool(value, w.one_of("GlobalAveragePool", "GlobalMaxPool"))
        value = self.flat(value)
        return w.dense(value, 3) if w.chance(0.7) else value

    def flat(self, value: Value) -> Value:
        w, count = self.w, int(np.prod(value.shape[1:]))
        kind = w.one_of("Flatten", "Reshape", "Squeeze")
        if kind == "Reshape":
            target = w.integers(0, w.one_of(-1, count))
            return w.node("Reshape", [value.name, target], (value.shape[0], count))
        if kind == "Flatten" or count != value.shape[1]:
            axis = w.one_of(None, 1)
            return w.node("Flatten", [value.name], (value.shape[0], count), axis=axis)
        axes = list(range(2, len(value.shape)))
        inputs, attribute = [value.name], axes
        if w.opset >= 13:
            inputs, attribute = [value.name, w.integers(*axes)], None
        return w.node("Squeeze", inputs, value.shape[:2], axes=attribute)

    def finish(self, seed: int) -> RandomNetwork:
        w = self.w
        dynamic = w.one_of("batch", "batch", "sizes", "none", "none")
        element = helper.np_dtype_to_tensor_dtype(np.dtype(w.dtype))
        inputs = [
            helper.make_tensor_value_info(value.name, element, self._dims(value, dynamic))
            for value in self.blocks.inputs.values()
        ]
        inputs += [info for info, _ in self.blocks.extra] + w.overridable
        ir_version = max(
            _IR.get(w.opset, 10), w.one_of(3, 7, 8, 10), 8 if self.blocks.functions else 3
        )
        if w.opset == 9 and w.chance(0.5):
            ir_version = 3
            known = {info.name for info in inputs}
            inputs += [_info(tensor) for tensor in w.initializers if tensor.name not in known]
        outputs = [self._output(value, element, dynamic) for value in self._unique_outputs()]
        graph = helper.make_graph(w.nodes, f"network {seed}", inputs, outputs, w.initializers)
        opsets = [helper.make_opsetid("", w.opset)]
        if self.blocks.functions:
            opsets.append(helper.make_opsetid(FUNCTION_DOMAIN, 1))
        proto = helper.make_model(
            graph, opset_imports=opsets, ir_version=ir_version, functions=self.blocks.functions
        )
        traits = [f"opset {w.opset}", f"IR {ir_version}", np.dtype(w.dtype).name, w.features.naming]
        traits += [f"weights {kind}" for kind in sorted(set(w.features.weights) - {"initializer"})]
        traits += ["dynamic batch"] if dynamic != "none" else []
        traits += ["dynamic sizes"] if dynamic == "sizes" else []
        arrays = {
            value.name: w.arrays.standard_normal(value.shape).astype(w.dtype)
            for value in self.blocks.inputs.values()
        }
        arrays.update({info.name: array for info, array in self.blocks.extra if array is not None})
        images = frozenset(self.blocks.inputs)
        return RandomNetwork(seed, proto, arrays, images, (*traits, *self.blocks.traits))

    def _dims(self, value: Value, dynamic: str) -> list[int | str | None]:
        dims: list[int | str | None] = list(value.shape)
        if dynamic != "none":
            dims[0] = "N"
        if dynamic == "sizes":
            sizes = "HWD" if value is self.source else ["", "", ""]
            dims[2:] = [sizes[axis] or None for axis in range(len(dims) - 2)]
        return dims

    def _unique_outputs(self) -> list[Value]:
        return list({value.name: value for value in self.outputs}.values())

    def _output(self, value: Value, element: int, dynamic: str) -> onnx.ValueInfoProto:
        node = next((n for n in self.w.nodes if value.name in n.output), None)
        strings = node is not None and node.op_type == "Identity" and value.shape == (2,)
        declared = list(value.shape) if dynamic == "none" and self.w.chance(0.4) else None
        kind = onnx.TensorProto.STRING if strings else element
        return helper.make_tensor_value_info(value.name, kind, declared)


def _info(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
