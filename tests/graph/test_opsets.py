"""Each operator whose form changed: the old model and the upgraded one give the same numbers."""

import numpy as np
import onnx
import onnx.parser
import pytest

from mlcnn import graph
from mlcnn.errors import UnsupportedError

OPSET = 20

# (name, opset, inputs, nodes); the inputs' shapes are static, the outputs are all `y*` values.
CASES = [
    ("slice", 9, {"x": (2, 6, 5)}, "y = Slice<starts=[1, 0], ends=[4, -1], axes=[1, 2]>(x)"),
    ("slice_no_axes", 9, {"x": (2, 6)}, "y = Slice<starts=[0, 1], ends=[1, 5]>(x)"),
    ("top_k", 9, {"x": (2, 6)}, "y, i = TopK<k=3, axis=-1>(x)"),
    ("upsample", 9, {"x": (1, 2, 3, 4)}, "y = Upsample<mode='nearest'>(x, up)"),
    ("upsample_linear", 9, {"x": (1, 2, 3, 4)}, "y = Upsample<mode='linear'>(x, up)"),
    ("resize_linear", 10, {"x": (1, 2, 3, 4)}, "y = Resize<mode='linear'>(x, up)"),
    ("resize_nearest", 10, {"x": (1, 2, 3, 4)}, "y = Resize<mode='nearest'>(x, up)"),
    ("resize_down", 10, {"x": (1, 2, 8, 9)}, "y = Resize<mode='nearest'>(x, down)"),
    (
        "resize_sizes",
        11,
        {"x": (1, 2, 3, 4)},
        (
            "y = Resize<mode='linear', coordinate_transformation_mode='align_corners'>"
            "(x, none, none, sizes)"
        ),
    ),
    (
        "resize_11",
        11,
        {"x": (1, 2, 3, 4)},
        (
            "y = Resize<mode='linear', coordinate_transformation_mode='pytorch_half_pixel'>"
            "(x, none, up)"
        ),
    ),
    ("clip", 9, {"x": (2, 6)}, "y = Clip<min=-0.5, max=0.25>(x)"),
    ("clip_below", 10, {"x": (2, 6)}, "y = Clip<min=-0.5>(x)"),
    ("clip_above", 10, {"x": (2, 6)}, "y = Clip<max=0.25>(x)"),
    ("clip_not", 10, {"x": (2, 6)}, "y = Clip(x)"),
    ("pad", 9, {"x": (2, 3)}, "y = Pad<mode='constant', pads=[0, 1, 2, 0], value=1.5>(x)"),
    ("pad_reflect", 9, {"x": (4, 3)}, "y = Pad<mode='reflect', pads=[0, 1, 2, 0]>(x)"),
    ("scatter", 10, {"x": (3, 3)}, "y = Scatter<axis=0>(x, index, x)"),
    ("dropout", 9, {"x": (2, 6)}, "y = Dropout<ratio=0.7>(x)"),
    ("dropout_11", 11, {"x": (2, 6)}, "y = Dropout(x)"),
    ("softmax", 9, {"x": (2, 3, 4)}, "y = Softmax(x)"),
    ("softmax_axis", 11, {"x": (2, 3, 4)}, "y = Softmax<axis=-2>(x)"),
    ("softmax_last", 11, {"x": (2, 3, 4)}, "y = Softmax<axis=2>(x)"),
    ("softmax_ones", 11, {"x": (2, 3, 1, 1)}, "y = Softmax<axis=1>(x)"),
    ("softmax_all", 9, {"x": (2, 3, 4)}, "y = Softmax<axis=0>(x)"),
    ("log_softmax", 9, {"x": (2, 3, 4)}, "y = LogSoftmax(x)"),
    ("hardmax", 12, {"x": (2, 3, 4)}, "y = Hardmax(x)"),
    ("squeeze", 9, {"x": (2, 1, 4, 1)}, "y = Squeeze<axes=[1, 3]>(x)"),
    ("squeeze_all", 12, {"x": (2, 1, 4, 1)}, "y = Squeeze(x)"),
    ("unsqueeze", 12, {"x": (2, 4)}, "y = Unsqueeze<axes=[0, -1]>(x)"),
    ("split", 9, {"x": (6, 4)}, "y0, y1 = Split<axis=0, split=[1, 5]>(x)"),
    ("split_evenly", 12, {"x": (6, 4)}, "y0, y1, y2 = Split<axis=0>(x)"),
    ("split_13", 13, {"x": (6, 4)}, "y0, y1 = Split<axis=1>(x)"),
    ("reduce_sum", 12, {"x": (2, 3, 4)}, "y = ReduceSum<axes=[1], keepdims=0>(x)"),
    ("reduce_mean", 17, {"x": (2, 3, 4)}, "y = ReduceMean<axes=[-1, 1]>(x)"),
    ("reduce_mean_all", 13, {"x": (2, 3, 4)}, "y = ReduceMean<keepdims=0>(x)"),
    ("reduce_max", 9, {"x": (2, 3, 4)}, "y = ReduceMax<axes=[1]>(x)"),
    ("reduce_min", 11, {"x": (2, 3, 4)}, "y = ReduceMin<axes=[1]>(x)"),
    ("reduce_prod", 11, {"x": (2, 3, 4)}, "y = ReduceProd<axes=[1]>(x)"),
    ("reduce_l1", 11, {"x": (2, 3, 4)}, "y = ReduceL1<axes=[1]>(x)"),
    ("reduce_l2", 11, {"x": (2, 3, 4)}, "y = ReduceL2<axes=[1]>(x)"),
    ("reduce_log", 11, {"x": (2, 3, 4)}, "a = Abs(x)\n y = ReduceLogSum<axes=[1]>(a)"),
    ("reduce_log_exp", 11, {"x": (2, 3, 4)}, "y = ReduceLogSumExp<axes=[1]>(x)"),
    ("reduce_square", 11, {"x": (2, 3, 4)}, "y = ReduceSumSquare<axes=[1]>(x)"),
    (
        "batch_norm",
        9,
        {"x": (2, 4, 3, 3)},
        "y = BatchNormalization<epsilon=0.01>(x, four, four, four, four)",
    ),
    (
        "roi_align",
        10,
        {"x": (1, 2, 8, 8)},
        (
            "y = RoiAlign<output_height=3, output_width=3, sampling_ratio=2, spatial_scale=1.0>"
            "(x, boxes, batch_index)"
        ),
    ),
    (
        "grid_sample",
        16,
        {"x": (1, 2, 4, 4), "g": (1, 3, 3, 2)},
        "y = GridSample<mode='bicubic'>(x, g)",
    ),
    ("grid_sample_default", 19, {"x": (1, 2, 4, 4), "g": (1, 3, 3, 2)}, "y = GridSample(x, g)"),
    ("dft", 17, {"x": (1, 5, 4, 1)}, "y = DFT<axis=2>(x)"),
    ("dft_default", 19, {"x": (1, 5, 4, 1)}, "y = DFT(x)"),
    ("max_pool", 9, {"x": (1, 2, 6, 6)}, "y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)"),
    (
        "average_pool",
        9,
        {"x": (1, 2, 6, 6)},
        "y = AveragePool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x)",
    ),
    ("gemm", 9, {"x": (2, 6), "b": (6, 3), "c": (3,)}, "y = Gemm(x, b, c)"),
]

CONSTANTS = """
    up = Constant<value = float[4] {1.0, 1.0, 2.0, 3.0}>()
    down = Constant<value = float[4] {1.0, 1.0, 0.5, 0.4}>()
    none = Constant<value = float[0] {}>()
    sizes = Constant<value = int64[4] {1, 2, 5, 7}>()
    index = Constant<value = int64[3, 3] {0, 1, 2, 2, 0, 1, 1, 2, 0}>()
    four = Constant<value = float[4] {0.5, 1.5, 2.5, 1.0}>()
    boxes = Constant<value = float[2, 4] {0.3, 0.6, 5.1, 6.2, 1.0, 1.0, 7.0, 4.5}>()
    batch_index = Constant<value = int64[2] {0, 0}>()
"""


def build(opset: int, inputs: dict[str, tuple[int, ...]], nodes: str) -> onnx.ModelProto:
    used = "".join(
        line + "\n"
        for line in CONSTANTS.splitlines()
        if line.strip()
        and line.split()[0] in nodes.replace(",", " ").replace(")", " ").replace("(", " ").split()
    )
    signature = ", ".join(f"float[{','.join(map(str, s))}] {name}" for name, s in inputs.items())
    results = [
        name.strip() for name in nodes.rsplit("\n", 1)[-1].split("=", maxsplit=1)[0].split(",")
    ]
    outputs = ", ".join(f"float {name}" for name in results if name.startswith("y"))
    text = (
        f'<ir_version: 8, opset_import: ["": {opset}]> '
        f"g ({signature}) => ({outputs}) {{ {used} {nodes.replace(chr(39), chr(34))} }}"
    )
    model = onnx.parser.parse_model(text)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize(
    ("opset", "inputs", "nodes"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_an_upgraded_operator_computes_what_the_old_one_did(opset, inputs, nodes, run):
    old = build(opset, inputs, nodes)
    generator = np.random.default_rng(7)
    feeds = {
        name: generator.uniform(-1, 1, shape).astype(np.float32) for name, shape in inputs.items()
    }
    expected = run(old, feeds)

    model = graph.from_proto(old)

    assert model.opset_imports[""] == OPSET
    new = graph.to_proto(model)
    onnx.checker.check_model(new, full_check=True)
    for got, want in zip(run(new, feeds), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("opset", range(9, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_loads(opset):
    old = build(opset, {"x": (1, 2, 6, 6)}, "y = AveragePool<kernel_shape=[2, 2]>(x)")

    assert graph.from_proto(old).opset_imports[""] == max(opset, OPSET)


@pytest.mark.parametrize("opset", [7, 8])
def test_an_opset_older_than_nine_is_refused(opset):
    old = build(opset, {"x": (1, 2, 6, 6)}, "y = AveragePool<kernel_shape=[2, 2]>(x)")

    with pytest.raises(UnsupportedError, match=rf"opset {opset}; mlcnn reads opsets 9 to "):
        graph.from_proto(old)


def test_an_opset_newer_than_the_library_is_refused():
    model = build(20, {"x": (1, 2)}, "y = Relu(x)")
    model.opset_import[0].version = 999

    with pytest.raises(UnsupportedError, match=r"opset 999; the installed onnx .* knows opsets"):
        graph.from_proto(model)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_bounds_take_the_type_of_their_input(dtype):
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    old = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 10]> g ({kind}[2,6] x) => ({kind}[2,6] y) {{
            a = Clip<min=-0.5, max=0.25>(x)
            y = Pad<mode="constant", pads=[0, 0, 0, 0], value=1.5>(a) }}"""
    )

    model = graph.from_proto(old)

    onnx.checker.check_model(graph.to_proto(model), full_check=True)
    bounds = [graph.constant(v) for node in model.graph for v in node.inputs if v.is_initializer()]
    assert {bound.dtype for bound in bounds} == {np.dtype(dtype), np.dtype(np.int64)}


def test_bodies_of_control_flow_are_upgraded_too(run):
    old = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 11]> g (bool c, float[2,3,4] x) => (float y) {
            y = If (c) <
              then_branch = t () => (float a) { a = Softmax<axis=1>(x) },
              else_branch = e () => (float b) { b = ReduceMean<axes=[1, 2]>(x) }
            > }"""
    )
    for output in [old.graph.output[0], *(a.g.output[0] for a in old.graph.node[0].attribute)]:
        output.type.tensor_type.ClearField("shape")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)

    new = graph.to_proto(graph.from_proto(old))

    for condition in (True, False):
        feeds = {"c": np.asarray(condition), "x": x}
        np.testing.assert_allclose(run(new, feeds)[0], run(old, feeds)[0], rtol=1e-6)


def test_functions_are_upgraded_too(run):
    old = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 12, "mine": 1]> g (float[2,3,4] x) => (float[2,1,1] y)
            { y = mine.mean(x) }
            <domain: "mine", opset_import: ["": 12]> mean (a) => (b)
            { b = ReduceMean<axes=[1, 2]>(a) }"""
    )
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)

    model = graph.from_proto(old)

    assert [node.op_type for node in model.graph] == ["mean"]
    np.testing.assert_allclose(
        run(graph.to_proto(model), {"x": x})[0], x.mean((1, 2), keepdims=True), rtol=1e-6
    )


def test_names_and_metadata_of_nodes_survive():
    old = build(11, {"x": (2, 3, 4)}, "y = Softmax<axis=1>(x)")
    old.graph.node[0].name = "head"
    old.graph.node[0].doc_string = "the last layer"
    entry = old.graph.node[0].metadata_props.add()
    entry.key, entry.value = "team", "vision"

    model = graph.from_proto(old)

    softmax = next(node for node in model.graph if node.op_type == "Softmax")
    assert (softmax.name, dict(softmax.metadata_props)) == ("head", {"team": "vision"})
    assert [output.name for output in model.graph.outputs] == ["y"]


def test_a_node_that_becomes_several_shares_its_name_with_none(run):
    old = build(11, {"x": (2, 3, 4)}, "y = Softmax<axis=1>(x)")
    old.graph.node[0].name = "head"
    old.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)

    new = graph.to_proto(graph.from_proto(old))

    names = [node.name for node in new.graph.node]
    assert len(set(names)) == len(names)
    flat = np.exp(x.reshape(2, 12))
    expected = (flat / flat.sum(1, keepdims=True)).reshape(2, 3, 4)
    np.testing.assert_allclose(run(new, {"x": x})[0], expected, rtol=1e-5)


def test_batch_norm_in_training_is_refused_by_name():
    old = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 9]>
            g (float[2,4,3,3] x, float[4] s) => (float[2,4,3,3] y, float[4] m)
            { y, m, v, a, b = BatchNormalization(x, s, s, s, s) }"""
    )
    old.graph.node[0].name = "norm"

    with pytest.raises(UnsupportedError, match="BatchNormalization 'norm' is in training mode"):
        graph.from_proto(old)
