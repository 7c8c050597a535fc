"""Broken models end in a network or in an error for the user: no traceback, hang or memory blow-up.

Every model is loaded in a process of its own kind (see ``fuzz_worker.py``), so that a crash of a
native library is a failure of one example and not the end of the tests.
"""

import contextlib
import json
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TIMEOUT_S = 60
EXAMPLES = 250
LONG_EXAMPLES = 5000
COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


def _random(shape: tuple[int, ...], name: str) -> onnx.TensorProto:
    array = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return onnx.numpy_helper.from_array(array, name)


def _model(text: str, *tensors: onnx.TensorProto) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(tensors)
    return model


def _seeds() -> list[onnx.ModelProto]:
    network = _model(
        """<ir_version: 8, opset_import: ["": 17], metadata_props: ["k": "v"]>
        g (float[N,3,8,8] x) => (float[N,5] y) {
            a = Conv<pads=[1, 1, 1, 1]>(x, w, b)
            n = BatchNormalization(a, s, s, s, s)
            r = Relu(n)
            p = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(r)
            c = Conv(p, v)
            t = Concat<axis=1>(c, c)
            m = GlobalAveragePool(t)
            shape = Shape(m)
            zero = Constant<value_int=0>()
            batch = Gather(shape, zero)
            axes = Constant<value_ints=[0]>()
            first = Unsqueeze(batch, axes)
            rest = Constant<value_ints=[-1]>()
            target = Concat<axis=0>(first, rest)
            f = Reshape(m, target)
            y = Gemm<transB=1>(f, q)
        }""",
        _random((4, 3, 3, 3), "w"),
        _random((4,), "b"),
        _random((4,), "s"),
        _random((6, 4, 1, 1), "v"),
        _random((5, 12), "q"),
    )
    old = _model(
        """<ir_version: 3, opset_import: ["": 9]>
        g (float[1,2,6,6] x, float[2,2,3,3] w) => (float[1,2,4,4] y) {
            a = Clip<min=0.0, max=6.0>(x)
            c = Conv<strides=[1, 1]>(a, w)
            d = Dropout<ratio=0.5>(c)
            y = Softmax<axis=1>(d)
        }""",
        _random((2, 2, 3, 3), "w"),
    )
    control = _model(
        """<ir_version: 8, opset_import: ["": 17, "com.example": 1, "mine": 1]>
        g (bool c, float[2,4] x) => (float[2,4] y) {
            h = If (c) <
                then_branch = t () => (float[2,4] a) { a = mine.twice(x) },
                else_branch = e () => (float[2,4] b) { b = Neg(x) }
            >
            y = com.example.Custom<alpha=2>(h)
        }
        <domain: "mine", opset_import: ["": 17]> twice (z) => (o) { o = Add(z, z) }"""
    )
    computed = _model(
        """<ir_version: 8, opset_import: ["": 13]>
        g (float[1,3,4,4] x) => (float[1,2,2,2] y) {
            dims = Constant<value = int64[4] {2, 3, 3, 3}>()
            w = ConstantOfShape<value = float[1] {0.5}>(dims)
            scale = Constant<value = float {0.1}>()
            zero = Constant<value = int8 {0}>()
            q = QuantizeLinear(x, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            y = Conv(d, w)
        }"""
    )
    return [network, old, control, computed]


SEEDS = _seeds()


class Worker:
    """The process that loads models; started again after a crash or a hang."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def load(self, content: bytes) -> dict[str, str]:
        if self.process is None:
            script = Path(__file__).with_name("fuzz_worker.py")
            self.process = subprocess.Popen(
                [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        source, sink = self.process.stdout, self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            sink.write(len(content).to_bytes(8, "little") + content)
            sink.flush()
        ready, _, _ = select.select([source], [], [], TIMEOUT_S)
        line = source.readline() if ready else b""
        if line:
            return json.loads(line)
        self.process.kill()
        code = self.process.wait()
        self.process = None
        return {"outcome": "hang" if not ready else f"crash (exit status {code})", "detail": ""}

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(timeout=TIMEOUT_S)
            self.process.stdout.close()


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


@st.composite
def damaged_bytes(draw) -> bytes:
    """A valid model with bytes changed, cut out, repeated or inserted."""
    content = bytearray(draw(st.sampled_from(SEEDS)).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["set", "flip", "cut", "drop", "repeat", "insert"])):
            case "set":
                content[at] = draw(st.integers(0, 255))
            case "flip":
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[max(at, 1) :]
            case "drop":
                del content[at : at + draw(st.integers(1, 8))]
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 64))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=16))
        if not content:
            return b"\0"
    return bytes(content)


NUMBERS = st.sampled_from(
    [-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 1000, 2**31, 2**40, 2**63 - 1]
)
WORDS = st.sampled_from(
    ["", "x", "y", "w", "a", "c", "m", "N", "shape", "9**9**9", "é", "../w", "0"]
)
OPERATORS = st.sampled_from(
    """Conv Relu Add Concat Reshape Shape Gather Slice Pad Split Softmax Resize Upsample Expand Tile
    Range ConstantOfShape Constant MaxPool AveragePool GlobalAveragePool BatchNormalization Gemm
    MatMul Transpose Squeeze Unsqueeze Dropout Identity Cast If Loop Scan LSTM NonZero TopK
    ReduceMean SequenceConstruct OneHot ConvTranspose QuantizeLinear DequantizeLinear Nonsense
    GridSample Einsum Flatten Clip""".split()  # noqa: SIM905
)


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    found = [model.graph]
    for graph in found:
        found.extend(a.g for node in graph.node for a in node.attribute if a.HasField("g"))
    return found


def _mutate_node(draw, node: onnx.NodeProto) -> None:
    match draw(st.sampled_from(["op", "input", "output", "domain", "attribute", "add"])):
        case "op":
            node.op_type = draw(OPERATORS)
        case "input" if node.input:
            node.input[draw(st.integers(0, len(node.input) - 1))] = draw(WORDS)
        case "output" if node.output:
            node.output[draw(st.integers(0, len(node.output) - 1))] = draw(WORDS)
        case "domain":
            node.domain = draw(st.sampled_from(["", "ai.onnx", "mlcnn", "com.microsoft", "mine"]))
        case "attribute" if node.attribute:
            _mutate_attribute(draw, node.attribute[draw(st.integers(0, len(node.attribute) - 1))])
        case _:
            name = draw(st.sampled_from(["axis", "kernel_shape", "group", "pads", "strides", "k"]))
            value = draw(st.lists(NUMBERS, max_size=5))
            node.attribute.append(
                onnx.helper.make_attribute(name, value or [0], attr_type=onnx.AttributeProto.INTS)
            )


def _mutate_attribute(draw, attribute: onnx.AttributeProto) -> None:
    if attribute.HasField("t") and draw(st.booleans()):
        _mutate_tensor(draw, attribute.t)
    elif attribute.ints and draw(st.booleans()):
        attribute.ints[draw(st.integers(0, len(attribute.ints) - 1))] = draw(NUMBERS)
    elif draw(st.booleans()):
        attribute.i = draw(NUMBERS)
    elif draw(st.booleans()):
        attribute.type = draw(st.integers(0, 14))
    else:
        attribute.name = draw(WORDS)


def _mutate_tensor(draw, tensor: onnx.TensorProto) -> None:
    match draw(st.sampled_from(["dim", "more", "type", "data", "name", "external"])):
        case "dim" if tensor.dims:
            tensor.dims[draw(st.integers(0, len(tensor.dims) - 1))] = draw(NUMBERS)
        case "more":
            tensor.dims.append(draw(NUMBERS))
        case "type":
            tensor.data_type = draw(st.integers(0, 30))
        case "data" if tensor.HasField("raw_data"):
            tensor.raw_data = tensor.raw_data[: draw(st.integers(0, len(tensor.raw_data)))]
        case "name":
            tensor.name = draw(WORDS)
        case _:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key = "location"
            entry.value = draw(st.sampled_from(["w.bin", "/etc/passwd", "../w", "", "model.onnx"]))


def _mutate_value(draw, value: onnx.ValueInfoProto) -> None:
    shape = value.type.tensor_type.shape
    match draw(st.sampled_from(["dim", "symbol", "type", "name", "clear", "sequence"])):
        case "dim" if shape.dim:
            shape.dim[draw(st.integers(0, len(shape.dim) - 1))].dim_value = draw(NUMBERS)
        case "symbol" if shape.dim:
            shape.dim[draw(st.integers(0, len(shape.dim) - 1))].dim_param = draw(WORDS)
        case "type":
            value.type.tensor_type.elem_type = draw(st.integers(0, 30))
        case "name":
            value.name = draw(WORDS)
        case "clear":
            value.ClearField("type")
        case _:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1


def _mutate_graph(draw, model: onnx.ModelProto) -> None:
    graph = draw(st.sampled_from(_graphs(model)))
    node = draw(st.sampled_from(list(graph.node))) if graph.node else None
    match draw(st.sampled_from(["drop", "repeat", "move", "opset", "version", "weight", "output"])):
        case "drop" if node is not None:
            graph.node.remove(node)
        case "repeat" if node is not None:
            graph.node.add().CopyFrom(node)
        case "move" if node is not None:
            moved = onnx.NodeProto()
            moved.CopyFrom(node)
            graph.node.remove(node)
            graph.node.insert(0, moved)
        case "opset":
            model.opset_import[0].version = draw(NUMBERS | st.integers(1, 40))
        case "version":
            model.ir_version = draw(st.integers(0, 30))
        case "weight" if graph.initializer:
            del graph.initializer[draw(st.integers(0, len(graph.initializer) - 1))]
        case _:
            del graph.output[:]


@st.composite
def damaged_structure(draw) -> bytes:
    """A valid model with nodes, attributes, weights or shapes changed."""
    model = onnx.ModelProto()
    model.CopyFrom(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        graph = draw(st.sampled_from(_graphs(model)))
        values = [*graph.input, *graph.output, *graph.value_info]
        kind = draw(st.sampled_from(["node", "node", "tensor", "value", "graph"]))
        if kind == "node" and graph.node:
            _mutate_node(draw, draw(st.sampled_from(list(graph.node))))
        elif kind == "tensor" and graph.initializer:
            _mutate_tensor(draw, draw(st.sampled_from(list(graph.initializer))))
        elif kind == "value" and values:
            _mutate_value(draw, draw(st.sampled_from(values)))
        else:
            _mutate_graph(draw, model)
    return model.SerializeToString()


def _expect_a_clear_end(worker: Worker, content: bytes) -> None:
    result = worker.load(content)
    assert result["outcome"] in {"loaded", "refused"}, result["outcome"] + "\n" + result["detail"]
    assert "\n" not in result["detail"]


def test_the_undamaged_models_load(worker):
    for seed in SEEDS:
        assert worker.load(seed.SerializeToString())["outcome"] == "loaded"


@settings(max_examples=EXAMPLES, **COMMON)
@given(content=damaged_bytes())
def test_damaged_bytes_end_clearly(worker, content):
    _expect_a_clear_end(worker, content)


@settings(max_examples=EXAMPLES, **COMMON)
@given(content=damaged_structure())
def test_damaged_structure_ends_clearly(worker, content):
    _expect_a_clear_end(worker, content)


@pytest.mark.long
@settings(max_examples=LONG_EXAMPLES, **COMMON)
@given(content=damaged_bytes())
def test_thousands_of_damaged_files_end_clearly(worker, content):
    _expect_a_clear_end(worker, content)


@pytest.mark.long
@settings(max_examples=LONG_EXAMPLES, **COMMON)
@given(content=damaged_structure())
def test_thousands_of_damaged_structures_end_clearly(worker, content):
    _expect_a_clear_end(worker, content)
