"""Copies are independent, parts compute what they did, and the check finds what is broken."""

import threading
import time

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from mlcnn import graph
from mlcnn.errors import InputError, PassError
from mlcnn.graph.structure import light_proto


def build():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "mine": 1], metadata_props: ["k": "v"]>
        g (bool c, float[N,3,4,4] x) => (float[N,2,4,4] y, float[N,2,4,4] z) {
            a = Conv(x, w)
            b = mine.twice(a)
            y = If (c) <
                then_branch = t () => (float[N,2,4,4] p) { p = Neg(b) },
                else_branch = e () => (float[N,2,4,4] q) { q = Relu(b) }
            >
            z = Sigmoid(b)
        }
        <domain: "mine", opset_import: ["": 20]> twice (i) => (o) { o = Add(i, i) }"""
    )
    weight = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return graph.from_proto(model)


def text(model):
    return graph.to_proto(model).SerializeToString(deterministic=True)


def rename_weight(model):
    model.graph.initializers["w"].name = "other"


def replace_weight(model):
    model.graph.initializers["w"].const_value = ir.tensor(np.zeros((2, 3, 1, 1), np.float32))


def change_type(model):
    model.graph[0].outputs[0].dtype = ir.DataType.DOUBLE
    model.graph.inputs[1].dtype = ir.DataType.DOUBLE


def change_shape(model):
    model.graph.inputs[1].shape[0] = 7
    model.graph[0].outputs[0].shape = ir.Shape([1])


def change_nodes(model):
    model.graph[0].op_type = "Nonsense"
    model.graph[0].attributes["group"] = ir.AttrInt64("group", 9)
    model.graph[0].metadata_props["mark"] = "1"
    model.graph[0].outputs[0].name = "renamed"


def change_body(model):
    node = next(node for node in model.graph if node.op_type == "If")
    branch = node.attributes["then_branch"].as_graph()
    branch[0].op_type = "Abs"
    branch.outputs[0].dtype = ir.DataType.DOUBLE


def change_function(model):
    (function,) = model.functions.values()
    function[0].op_type = "Mul"
    function.opset_imports[""] = 99


def change_model(model):
    model.metadata_props["k"] = "changed"
    model.graph.opset_imports["new"] = 1
    model.graph.outputs.pop()
    model.functions.clear()


CHANGES = [
    rename_weight,
    replace_weight,
    change_type,
    change_shape,
    change_nodes,
    change_body,
    change_function,
    change_model,
]


@pytest.mark.parametrize("change", CHANGES)
def test_changing_a_copy_leaves_the_original_alone(change):
    model = build()
    before = text(model)

    copied = graph.clone(model)
    assert text(copied) == before
    change(copied)

    assert text(model) == before
    assert model.graph.initializers["w"].const_value.name == "w"
    assert text(copied) != before


def test_a_copy_shares_the_weights():
    model = build()

    copied = graph.clone(model)

    pair = [graph.constant(m.graph.initializers["w"]) for m in (model, copied)]
    assert np.shares_memory(*pair)


def test_copying_is_cheap_whatever_the_weights():
    model = build()
    large = np.zeros(2**28, np.uint8)  # 256 MiB
    value = ir.Value(name="large", const_value=ir.tensor(large))
    model.graph.register_initializer(value)

    start = time.process_time()
    graph.clone(model)

    assert time.process_time() - start < 0.05


def test_a_constant_cannot_be_written_to():
    array = graph.constant(build().graph.initializers["w"])

    with pytest.raises(ValueError, match="read-only"):
        array[:] = 0


def test_only_weights_and_constants_are_constant():
    model = build()

    assert graph.constant(None) is None
    assert graph.constant(model.graph.inputs[1]) is None
    assert graph.constant(model.graph[0].outputs[0]) is None
    node = ir.node("Constant", [], {"value_ints": [1, 2]})
    np.testing.assert_array_equal(graph.constant(node.outputs[0]), [1, 2])


def test_a_part_computes_what_it_did_inside(run):
    model = build()
    part = graph.extract(model, ["a"], ["b", "z"])

    assert [v.name for v in part.graph.inputs] == ["a"]
    assert not part.graph.initializers
    graph.check(part)
    a = np.random.default_rng(1).normal(size=(2, 2, 4, 4)).astype(np.float32)
    b, z = run(graph.to_proto(part), {"a": a})
    np.testing.assert_allclose(b, a + a)
    np.testing.assert_allclose(z, 1 / (1 + np.exp(-2 * a)), atol=1e-6)


def test_a_part_brings_its_weights_and_is_independent(run):
    model = build()
    before = text(model)
    part = graph.extract(model, ["x"], ["a"])

    assert list(part.graph.initializers) == ["w"]
    part.graph.initializers["w"].name = "other"
    part.graph.inputs[0].dtype = ir.DataType.DOUBLE
    assert text(model) == before


def test_the_weights_of_a_part_keep_their_order():
    """Random weights are drawn in it: the check of a site is the same in every run."""
    names = [f"w{i}" for i in range(12)]
    weights = ", ".join(f"float {name} = {{1}}" for name in names)
    lines = "\n".join(f"s{i + 1} = Add(s{i}, w{i})" for i in range(12))
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["": 20]>
        g (float[N] s0) => (float[N] s12) <{weights}> {{ {lines} }}"""
    )
    assert list(graph.extract(model, ["s0"], ["s12"]).graph.initializers) == names


@pytest.mark.parametrize(
    ("inputs", "outputs", "word"),
    [
        (["nope"], ["z"], "'nope' not found"),
        (["a"], ["nope"], "'nope' not found"),
        (["c"], ["z"], "x"),
    ],
)
def test_an_impossible_part_is_refused(inputs, outputs, word):
    with pytest.raises(InputError, match="cannot cut the network between") as caught:
        graph.extract(build(), inputs, outputs)
    assert word in str(caught.value)


def test_inlining_replaces_our_functions_only(run):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "mlcnn": 1, "mine": 1]>
        g (float[2] x) => (float[2] y) { a = mlcnn.Half(x)  y = mine.twice(a) }
        <domain: "mlcnn", opset_import: ["": 20]> Half (i) => (o)
        { two = Constant<value = float {2.0}>()  o = Div(i, two) }
        <domain: "mine", opset_import: ["": 20]> twice (i) => (o) { o = Add(i, i) }"""
    )
    model = graph.from_proto(proto)
    model.functions["mlcnn", "Half", ""].metadata_props[graph.OPERATOR_KEY] = "Half"
    before = text(model)

    inlined = graph.inline(model)

    assert "mlcnn" not in {node.domain for node in inlined.graph}
    assert [f.name for f in inlined.functions.values()] == ["twice"]
    assert "mlcnn" not in inlined.opset_imports
    assert text(model) == before
    x = np.asarray([3, 5], np.float32)
    np.testing.assert_array_equal(run(graph.to_proto(inlined), {"x": x})[0], x)


def test_inlining_leaves_no_missing_input_at_the_end():
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "mlcnn": 1]>
        g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) { y = mlcnn.Same(x, w) }
        <domain: "mlcnn", opset_import: ["": 20]> Same (X, W, B) => (Y) { Y = Conv(X, W, B) }"""
    )

    (node,) = graph.inline(graph.from_proto(proto), foreign=True).graph

    assert node.op_type == "Conv"
    assert [value.name for value in node.inputs] == ["x", "w"]


def test_the_check_accepts_a_valid_network():
    graph.check(build())


def test_the_check_does_not_change_the_network():
    model = build()
    before = text(model)

    graph.check(model)

    assert text(model) == before


def test_the_check_names_a_node_of_the_wrong_form():
    model = build()
    node = next(node for node in model.graph if node.op_type == "Sigmoid")
    node.name = "gate"
    node.attributes["alpha"] = ir.AttrInt64("alpha", 1)

    with pytest.raises(PassError, match=r"not valid ONNX: Sigmoid 'gate': Unrecognized attribute"):
        graph.check(model)


def test_the_check_finds_an_unknown_operator():
    model = build()
    model.graph[0].op_type = "Nonsense"

    with pytest.raises(PassError, match="No Op registered for Nonsense"):
        graph.check(model)


def test_large_weights_never_enter_the_message_that_is_checked():
    model = build()
    model.graph[0].replace_input_with(
        1, ir.Value(name="big", const_value=ir.tensor(np.zeros((2, 3, 64, 64), np.float32)))
    )
    model.graph.register_initializer(model.graph[0].inputs[1])

    proto = light_proto(model)

    assert len(proto.SerializeToString()) < 5000
    assert "big" in [value.name for value in proto.graph.input]


def test_checks_of_one_network_run_in_parallel():
    model = build()
    errors = []

    def work():
        try:
            for _ in range(10):
                graph.check(model)
                graph.infer_shapes(graph.clone(model))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
