"""A network that grows node by node, with what ONNX Runtime computes for each."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Network"]

OPSET = 22
BOUND = 30.0


class Network:
    """A network that grows: values with what ONNX Runtime computes for them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.values: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []
        self._pending: dict[str, np.ndarray] = {}
        images = self.integer(1, 4)
        for index in range(self.one_of([1, 1, 1, 2])):
            channels, size = (
                self.one_of([1, 3, 5, 16, 20, 33]),
                (self.integer(1, 9), self.integer(1, 9)),
            )
            shape = (images, channels, *size)
            if self.chance(0.15):
                shape = shape[: self.integer(2, 3)]
            self.inputs.append(f"x{index}")
            self.values[f"x{index}"] = self.rng.standard_normal(shape, np.float32)

    # -- draws

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, items):
        return items[self.integer(0, len(items) - 1)]

    def pick(self, *ranks: int) -> str:
        """A value of one of these ranks (any by default), a late one more often."""
        names = [n for n, v in self.values.items() if not ranks or v.ndim in ranks]
        if not names:
            raise LookupError
        return (
            names[-self.integer(1, min(3, len(names)))] if self.chance(0.7) else self.one_of(names)
        )

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def constant(self, array, dtype=np.float32) -> str:
        name = f"c{len(self.constants) + len(self._pending)}"
        self._pending[name] = np.asarray(array, dtype)
        return name

    def normal(self, *shape: int, fan: int = 1) -> str:
        return self.constant(self.rng.standard_normal(shape) / np.sqrt(fan))

    # -- growth

    def add(self, op_type: str, build: Callable[["Network", str], tuple[list[str], dict]]) -> bool:
        """Append one node, if ONNX Runtime computes something sound."""
        self._pending = {}
        try:
            operands, attributes = build(self, op_type)
        except LookupError:
            return False
        node = helper.make_node(
            op_type, operands, [f"v{len(self.nodes)}"], f"n{len(self.nodes)}", **attributes
        )
        found = computed(node, self.values | self.constants | self._pending)
        if found is None or not 0 < found.size < 20000 or not np.isfinite(found).all():
            return False
        if np.abs(found).max() > BOUND:
            return False
        self.nodes.append(node)
        self.constants |= self._pending
        self.values[node.output[0]] = found
        return True

    def outputs(self) -> list[str]:
        made = [node.output[0] for node in self.nodes]
        others = [name for name in made[:-1] if self.chance(0.15)]
        return [*others, made[-1]]

    def proto(self, outputs: list[str]) -> onnx.ModelProto:
        dynamic = self.chance(0.5) and len({self.shape(name)[0] for name in self.inputs}) == 1
        inputs = [
            helper.make_tensor_value_info(
                name,
                TensorProto.FLOAT,
                ["N", *self.shape(name)[1:]] if dynamic else self.shape(name),
            )
            for name in self.inputs
        ]
        results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        weights = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "net", inputs, results, weights)
        opset = 24 if any(node.op_type == "Swish" for node in self.nodes) else OPSET
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
        )


def computed(node: onnx.NodeProto, values: dict[str, np.ndarray]) -> np.ndarray | None:
    """What ONNX Runtime computes for one node, None where it refuses it."""
    if node.op_type == "Swish":  # newer than it
        x = values[node.input[0]].astype(np.float64)
        return (x / (1 + np.exp(-x))).astype(np.float32)
    names = [name for name in dict.fromkeys(node.input) if name]
    info = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape
        )
        for name in names
    ]
    result = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "one", info, [result]),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, {name: values[name] for name in names})[0]
    except Exception:  # noqa: BLE001 - it has a dozen kinds of them
        return None
