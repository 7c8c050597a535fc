"""What a valid ONNX file becomes: the same numbers, in the one form that passes expect."""

import logging

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from mlcnn import graph


def tensor(shape, name, dtype=np.float32):
    array = np.random.default_rng(len(name)).normal(size=shape).astype(dtype)
    return onnx.numpy_helper.from_array(array, name)


def parse(text, *tensors):
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(tensors)
    return model


def operators(model):
    return [node.op_type for node in model.graph]


def random(shape, dtype=np.float32):
    return np.random.default_rng(3).uniform(-1, 1, shape).astype(dtype)


def test_weights_listed_among_the_inputs_are_weights_only():
    old = parse(
        """<ir_version: 3, opset_import: ["": 9]>
        g (float[1,3,5,5] x, float[2,3,3,3] w) => (float[1,2,3,3] y) { y = Conv(x, w) }""",
        tensor((2, 3, 3, 3), "w"),
    )

    model = graph.from_proto(old)

    assert [value.name for value in model.graph.inputs] == ["x"]
    assert list(model.graph.initializers) == ["w"]


@pytest.mark.parametrize("attribute", ["value = float[1,3,1,1] {1.0, 2.0, 3.0}", "dims"])
def test_weights_from_constants_and_constant_of_shape_become_initializers(attribute, run):
    source = (
        """dims = Constant<value_ints=[1, 3, 1, 1]>()
        w = ConstantOfShape<value = float[1] {0.25}>(dims)"""
        if attribute == "dims"
        else f"w = Constant<{attribute}>()"
    )
    old = parse(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[1,3,2,2] x) => (float[1,1,2,2] y) {{
        {source}
        y = Conv(x, w) }}"""
    )

    model = graph.from_proto(old)

    assert operators(model) == ["Conv"]
    assert graph.constant(model.graph[0].inputs[1]).shape == (1, 3, 1, 1)
    feeds = {"x": random((1, 3, 2, 2))}
    np.testing.assert_array_equal(run(graph.to_proto(model), feeds)[0], run(old, feeds)[0])


def test_the_exporters_constant_computations_are_done_once():
    old = parse(
        """<ir_version: 8, opset_import: ["": 18]> g (float[N,3,4,4] x) => (float[N,2,4,4] y) {
        n = Shape<end=1>(w)
        one = Constant<value_ints=[1]>()
        dims = Expand(n, one)
        zero = Constant<value = float {0.5}>()
        like = CastLike(zero, x)
        b = Expand(like, dims)
        y = Conv(x, w, b) }""",
        tensor((2, 3, 1, 1), "w"),
    )

    model = graph.from_proto(old)

    assert operators(model) == ["Conv"]
    np.testing.assert_array_equal(graph.constant(model.graph[0].inputs[2]), [0.5, 0.5])


def test_folding_makes_no_large_constant_out_of_small_ones():
    old = parse(
        """<ir_version: 8, opset_import: ["": 18]> g (float[1000,1000] x) => (float[1000,1000] y) {
        half = Constant<value = float {0.5}>()
        dims = Constant<value_ints=[1000, 1000]>()
        big = Expand(half, dims)
        y = Mul(x, big) }"""
    )

    model = graph.from_proto(old)

    assert operators(model) == ["Expand", "Mul"]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("float", np.float32),
        ("double", np.float64),
        ("float16", np.float16),
        ("bfloat16", ml_dtypes.bfloat16),
    ],
)
def test_every_float_type_loads_and_keeps_its_weights(kind, dtype, tmp_path):
    weight = random((2, 3, 1, 1)).astype(dtype)
    stored = onnx.numpy_helper.from_array(weight, "w")
    old = parse(
        f"""<ir_version: 10, opset_import: ["": 22]>
        g ({kind}[1,3,4,4] x) => ({kind}[1,2,4,4] y) {{ y = Conv(x, w) }}""",
        stored,
    )
    onnx.save(old, tmp_path / "net.onnx")

    model = graph.load_file(tmp_path / "net.onnx")

    loaded = graph.constant(model.graph[0].inputs[1])
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded.view(np.uint8), weight.view(np.uint8))


def test_dynamic_batch_height_and_width_stay_dynamic_under_their_names():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N,3,H,W] x) => (float y) {
        c = Conv(x, w)
        p = GlobalAveragePool(c)
        y = Flatten(p) }""",
        tensor((2, 3, 1, 1), "w"),
    )
    old.graph.output[0].type.tensor_type.ClearField("shape")

    model = graph.from_proto(old)

    assert str(model.graph.inputs[0].shape) == "[N,3,H,W]"
    assert str(model.graph[0].outputs[0].shape) == "[N,2,H,W]"
    assert str(model.graph.outputs[0].shape) == "[N,2]"


def test_a_size_of_minus_one_is_dynamic():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,4,4] x) => (float[1,3,4,4] y)
        { y = Relu(x) }"""
    )
    for value in (old.graph.input[0], old.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1

    model = graph.from_proto(old)

    assert not isinstance(model.graph.inputs[0].shape[0], int)
    assert model.graph.outputs[0].shape[1:] == (3, 4, 4)


def test_the_reshape_behind_a_dynamic_batch_needs_no_other_node(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N,3,2,2] x) => (float[N,12] y) {
        shape = Shape(x)
        zero = Constant<value_int=0>()
        batch = Gather(shape, zero)
        axes = Constant<value_ints=[0]>()
        first = Unsqueeze(batch, axes)
        rest = Constant<value_ints=[12]>()
        target = Concat<axis=0>(first, rest)
        y = Reshape(x, target) }"""
    )

    model = graph.from_proto(old)

    assert operators(model) == ["Reshape"]
    x = random((5, 3, 2, 2))
    np.testing.assert_array_equal(run(graph.to_proto(model), {"x": x})[0], x.reshape(5, 12))


def test_a_batch_that_only_the_output_fixes_stays_dynamic(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[N,3,2,2] x, int64[2] target) => (float[1,12] y) { y = Reshape(x, target) }"""
    )
    x = random((5, 3, 2, 2))

    new = graph.to_proto(graph.from_proto(old))

    feeds = {"x": x, "target": np.asarray([5, 12])}
    np.testing.assert_array_equal(run(new, feeds)[0], x.reshape(5, 12))


def test_a_reshape_of_two_dynamic_sizes_keeps_its_computation(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N,M] x) => (float[M,N] y) {
        shape = Shape(x)
        order = Constant<value_ints=[1, 0]>()
        target = Gather(shape, order)
        y = Reshape(x, target) }"""
    )
    x = random((3, 4))

    model = graph.from_proto(old)

    np.testing.assert_array_equal(run(graph.to_proto(model), {"x": x})[0], x.reshape(4, 3))


def test_several_inputs_and_outputs_keep_names_and_order(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[2] left, float[2] right) => (float[2] total, float[2] same, float[2] less) {
        total = Add(left, right)
        same = Identity(left)
        less = Sub(left, right) }"""
    )

    model = graph.from_proto(old)

    assert [v.name for v in model.graph.inputs] == ["left", "right"]
    assert [v.name for v in model.graph.outputs] == ["total", "same", "less"]
    left, right = random(2), random(2) + 1
    results = run(graph.to_proto(model), {"left": left, "right": right})
    for got, want in zip(results, [left + right, left, left - right], strict=True):
        np.testing.assert_array_equal(got, want)


def test_metadata_and_doc_strings_survive():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17], producer_name: "me", model_version: 7,
        doc_string: "a net", metadata_props: ["labels": "cat,dog"]>
        g (float[2] x) => (float[2] y) { y = Relu(x) }"""
    )
    old.graph.doc_string = "the graph"
    old.graph.input[0].doc_string = "an image"

    new = graph.to_proto(graph.from_proto(old))

    assert (new.producer_name, new.model_version, new.doc_string) == ("me", 7, "a net")
    assert {p.key: p.value for p in new.metadata_props} == {"labels": "cat,dog"}
    assert (new.graph.doc_string, new.graph.input[0].doc_string) == ("the graph", "an image")


def test_quantisation_survives(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 13]> g (float[1,3,4,4] x) => (float[1,2,4,4] y) {
        scale = Constant<value = float {0.1}>()
        zero = Constant<value = int8 {0}>()
        q = QuantizeLinear(x, scale, zero)
        d = DequantizeLinear(q, scale, zero)
        w = DequantizeLinear(wq, scale, zero)
        y = Conv(d, w) }""",
        onnx.numpy_helper.from_array(np.arange(6, dtype=np.int8).reshape(2, 3, 1, 1), "wq"),
    )

    model = graph.from_proto(old)

    assert sorted(operators(model)) == sorted(operators_of(old))
    feeds = {"x": random((1, 3, 4, 4))}
    np.testing.assert_array_equal(run(graph.to_proto(model), feeds)[0], run(old, feeds)[0])


def operators_of(proto):
    return [node.op_type for node in proto.graph.node if node.op_type != "Constant"]


def test_operators_of_an_unknown_domain_survive_with_their_attributes():
    old = parse(
        """<ir_version: 8, opset_import: ["": 10, "com.example": 3]>
        g (float[1,3,4,4] x) => (float[1,3,4,4] y) {
        h = com.example.Warp<alpha=0.5, mode="soft">(x)
        y = Clip<min=0.0>(h) }"""
    )

    model = graph.from_proto(old)

    warp = model.graph[0]
    assert (warp.domain, warp.op_type, model.opset_imports["com.example"]) == (
        "com.example",
        "Warp",
        3,
    )
    assert (warp.attributes["alpha"].value, warp.attributes["mode"].value) == (0.5, "soft")
    graph.check(model)


def test_weights_that_an_old_model_does_not_list_as_inputs():
    old = parse(
        """<ir_version: 3, opset_import: ["": 9]> g (float[1,3,5,5] x) => (float[1,2,3,3] y)
        { y = Conv(x, w) }""",
        tensor((2, 3, 3, 3), "w"),
    )

    assert operators(graph.from_proto(old)) == ["Conv"]


def test_outputs_of_operators_without_inference_keep_their_types():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17, "ai.onnx.preview.training": 1]>
        g (float[2] x) => (float[2] y, float[2] d) {
        y = Relu(x)
        d = ai.onnx.preview.training.Gradient<xs=["x"], y="y">(x) }"""
    )

    graph.check(graph.from_proto(old))


def test_functions_of_the_user_stay_functions(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 20, "mine": 1]> g (float[2] x) => (float[2] y)
        { y = mine.twice(x) }
        <domain: "mine", opset_import: ["": 20]> twice (a) => (b) { b = Add(a, a) }"""
    )
    x = random(2)

    model = graph.from_proto(old)

    assert [(n.domain, n.op_type) for n in model.graph] == [("mine", "twice")]
    np.testing.assert_array_equal(run(graph.to_proto(model), {"x": x})[0], x + x)


def test_control_flow_survives(run):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (bool c, float[2] x) => (float[2] y) {
        y = If (c) < then_branch = t () => (float[2] a) { a = Neg(x) },
                     else_branch = e () => (float[2] b) { b = Add(x, x) } > }"""
    )
    x = random(2)

    new = graph.to_proto(graph.from_proto(old))

    for condition, want in ((True, -x), (False, x + x)):
        feeds = {"c": np.asarray(condition), "x": x}
        np.testing.assert_array_equal(run(new, feeds)[0], want)


def test_nodes_out_of_order_are_sorted():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y)
        { h = Relu(x)  y = Neg(h) }"""
    )
    first = onnx.NodeProto()
    first.CopyFrom(old.graph.node[0])
    del old.graph.node[0]
    old.graph.node.append(first)

    assert operators(graph.from_proto(old)) == ["Relu", "Neg"]


def test_a_wrong_shape_noted_in_the_file_does_not_count():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float[1,9,4,4] c> { c = Conv(x, w)  y = Relu(c) }""",
        tensor((2, 3, 1, 1), "w"),
    )

    model = graph.from_proto(old)

    assert model.graph[0].outputs[0].shape == (1, 2, 4, 4)


def test_an_output_without_a_shape_gets_one():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,4,4] x) => (float y)
        { y = Relu(x) }"""
    )
    old.graph.output[0].type.tensor_type.ClearField("shape")

    assert graph.from_proto(old).graph.outputs[0].shape == (1, 3, 4, 4)


def test_the_message_is_not_changed():
    old = parse(
        """<ir_version: 3, opset_import: ["": 9]> g (float[2,6] x) => (float[2,6] y)
        { a = Clip<min=0.0>(x)  y = Softmax<axis=1>(a) }"""
    )
    before = old.SerializeToString(deterministic=True)

    graph.from_proto(old)

    assert old.SerializeToString(deterministic=True) == before


def test_nothing_refers_to_the_file_any_more(tmp_path):
    path = tmp_path / "net.onnx"
    weight = tensor((2, 3, 1, 1), "w")
    onnx.save(
        parse(
            """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,4,4] x) => (float[1,2,4,4] y)
            { y = Conv(x, w) }""",
            weight,
        ),
        path,
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    model = graph.load_file(path)

    path.write_bytes(b"")
    (tmp_path / "net.data").write_bytes(b"\0" * 24)

    np.testing.assert_array_equal(
        graph.constant(model.graph[0].inputs[1]), onnx.numpy_helper.to_array(weight)
    )


@pytest.mark.parametrize(
    ("values", "word"),
    [([1.0, np.nan], "NaN"), ([np.inf, 0.0], "infinite values"), ([-np.inf, np.nan], "NaN")],
)
def test_a_weight_that_is_not_finite_is_named_in_a_warning(values, word, caplog):
    weight = np.asarray(values, np.float32).reshape(1, 2, 1, 1)
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,2,4,4] x) => (float[1,1,4,4] y)
        { y = Conv(x, head) }""",
        onnx.numpy_helper.from_array(weight, "head"),
    )

    with caplog.at_level(logging.WARNING, "mlcnn"):
        graph.from_proto(old)

    assert caplog.messages == [f"the ONNX message: weight 'head' holds {word}"]


def test_an_infinite_bound_is_no_broken_weight(caplog):
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y)
        { y = Max(x, bound) }""",
        onnx.numpy_helper.from_array(np.asarray(-np.inf, np.float32), "bound"),
    )

    graph.from_proto(old)

    assert not caplog.messages


def test_large_weights_are_folded_where_that_makes_nothing_larger():
    old = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,300] x) => (float[1,300] y)
        { t = Transpose(w)  y = MatMul(x, t) }""",
        tensor((300, 300), "w"),
    )

    model = graph.from_proto(old)

    assert operators(model) == ["MatMul"]
    assert isinstance(model, ir.Model)
