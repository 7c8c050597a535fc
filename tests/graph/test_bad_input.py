"""Bad ONNX files: one message that names file, node and remedy; nothing allocated beforehand."""

import re
import tracemalloc

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from mlcnn import graph
from mlcnn.errors import InputError, UnsupportedError


def parse(text, *tensors):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "mine": 1]> g {text}')
    model.graph.initializer.extend(tensors)
    return model


def weight(shape=(2, 3, 1, 1), name="w"):
    return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)


def network():
    return parse(
        "(float[1,3,4,4] x) => (float[1,2,4,4] y) { a = Conv(x, w)  y = Relu(a) }", weight()
    )


def write(tmp_path, model):
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refused(tmp_path, model, pattern, error=InputError):
    path = write(tmp_path, model)
    with pytest.raises(error, match=pattern) as caught:
        graph.load_file(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.onnx: no such file"):
        graph.load_file(tmp_path / "nothing.onnx")


def test_a_directory(tmp_path):
    with pytest.raises(InputError, match=r"is a directory; give the \.onnx file in it"):
        graph.load_file(tmp_path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.touch()
    with pytest.raises(InputError, match=r"net\.onnx: the file is empty"):
        graph.load_file(path)


def test_a_file_that_is_something_else(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not an ONNX file, or a truncated one"):
        graph.load_file(path)


def test_a_message_of_another_kind(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx.OperatorSetIdProto(domain="x", version=3).SerializeToString())
    with pytest.raises(InputError, match=r"not an ONNX (model|file)"):
        graph.load_file(path)


def test_a_file_beyond_what_a_message_holds(tmp_path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match=r"2\.0 GiB in one file, .* weights as external data"):
        graph.load_file(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(tmp_path, share):
    path = tmp_path / "net.onnx"
    content = network().SerializeToString()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"net\.onnx: "):
        graph.load_file(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.pt", b"x"),
        ("net.pth", b"x"),
        ("net.pkl", b"x"),
        ("net.bin", b"x"),
        ("net.onnx", b"PK\x03\x04rest"),
        ("net.onnx", b"\x80\x02rest"),
    ],
)
def test_a_pickled_checkpoint(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a pickled checkpoint.*export the network to \.onnx"):
        graph.load_file(path)


def test_a_cycle_names_its_nodes(tmp_path):
    model = parse(
        "(float[2] x) => (float[2] y) { a = Add(x, c)  b = Relu(a)  c = Neg(b)  y = Relu(x) }"
    )
    for node in model.graph.node:
        node.name = f"the {node.op_type} of {node.output[0]}"
    names = [f"the {kind}" for kind in ("Add of a", "Relu of b", "Neg of c")]

    path = write(tmp_path, model)
    with pytest.raises(InputError, match="the graph has a cycle") as caught:
        graph.load_file(path)

    text = str(caught.value)
    orders = [" -> ".join([*names[i:], *names[: i + 1]]) for i in range(3)]
    assert any(order in text for order in orders), text


def test_a_cycle_through_a_body(tmp_path):
    model = parse(
        """(bool c, float[2] x) => (float[2] y) {
        h = If (c) < then_branch = t () => (float[2] a) { a = Relu(y) },
                     else_branch = e () => (float[2] b) { b = Neg(x) } >
        y = Neg(h) }"""
    )
    refused(tmp_path, model, "the graph has a cycle: .*y.*; a network must end")


def test_a_dangling_input(tmp_path):
    model = parse("(float[2] x) => (float[2] y) { y = Add(x, lost) }")
    model.graph.node[0].name = "sum"
    refused(tmp_path, model, "Add 'sum' reads 'lost', which nothing computes")


def test_a_dangling_output(tmp_path):
    model = parse("(float[2] x) => (float[2] y) { z = Relu(x) }")
    refused(tmp_path, model, "nothing computes 'y', an output of graph 'g'")


def test_a_body_that_computes_nothing(tmp_path):
    model = parse(
        """(bool c, float[2] x) => (float[2] y) {
        y = If (c) < then_branch = t () => (float[2] a) { b = Relu(x) },
                     else_branch = e () => (float[2] d) { d = Neg(x) } > }"""
    )
    refused(tmp_path, model, "nothing computes 'a', an output of graph 't'")


def test_a_name_that_is_written_twice(tmp_path):
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x)  y = Neg(x) }")
    refused(tmp_path, model, r"Neg 'y' writes 'y', which Relu 'y' defines already")


@pytest.mark.parametrize("kind", ["input", "initializer"])
def test_two_inputs_or_weights_of_one_name(tmp_path, kind):
    model = network()
    entries = getattr(model.graph, kind)
    entries.add().CopyFrom(entries[0])
    refused(tmp_path, model, rf"there are two {kind}s of the name '[wx]'; rename one")


def test_a_domain_without_a_schema(tmp_path):
    model = parse("(float[2] x) => (float[2] y) { h = Relu(x)  y = Relu(h) }")
    model.graph.node[1].domain, model.graph.node[1].name = "com.acme", "warp"
    refused(tmp_path, model, "Relu 'warp' is of domain 'com.acme', which the model neither imports")


def test_an_operator_that_does_not_exist(tmp_path):
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node[0].op_type = "Rleu"
    refused(tmp_path, model, "Rleu 'y': No Op registered for Rleu")


def test_an_operator_of_another_form_names_the_node(tmp_path):
    model = network()
    model.graph.node[1].input.append("x")
    refused(tmp_path, model, r"Relu 'y': Node\(y\) with schema.* has input size 2 not in range")


def test_no_graph(tmp_path):
    model = network()
    model.ClearField("graph")
    refused(tmp_path, model, "not an ONNX model .there is no graph in it")


def test_no_opset(tmp_path):
    model = network()
    del model.opset_import[:]
    refused(tmp_path, model, "it imports no operator set")


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda t: t.dims.append(2), r"shape \[2, 3, 1, 1, 2\] needs 48 bytes and holds 24"),
        (lambda t: t.dims.insert(0, -1), r"negative dimension in its shape \[-1, 2, 3, 1, 1\]"),
        (lambda t: t.dims.insert(0, 2**40), r"needs 26388279066624 bytes and holds 24"),
        (lambda t: setattr(t, "raw_data", b"12"), r"needs 24 bytes and holds 2"),
        (lambda t: t.ClearField("raw_data"), r"needs 6 numbers and holds 0"),
        (lambda t: setattr(t, "data_type", 0), r"has no known element type \(0\)"),
        (lambda t: setattr(t, "data_type", 77), r"has no known element type \(77\)"),
    ],
)
def test_a_weight_whose_data_and_shape_disagree_is_refused_unallocated(tmp_path, change, pattern):
    model = network()
    change(model.graph.initializer[0])

    tracemalloc.start()
    refused(tmp_path, model, pattern)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 50e6


def _sparse(places: object, *, dims: list[int], values: int = 2) -> onnx.SparseTensorProto:
    numbers = numpy_helper.from_array(np.arange(1, values + 1, dtype=np.float32), "thin")
    return onnx.helper.make_sparse_tensor(numbers, numpy_helper.from_array(np.array(places)), dims)


@pytest.mark.parametrize(
    ("sparse", "message"),
    [
        (_sparse([0, 6], dims=[2, 3]), "initializer 'thin' of shape [2, 3] has values outside"),
        (_sparse([[0, 0], [1, 3]], dims=[2, 3]), "of shape [2, 3] has values outside of that"),
        (_sparse([-1, 3], dims=[2, 3]), "of shape [2, 3] has values outside of that"),
        (_sparse([4, 4], dims=[2, 3]), "initializer 'thin' has two values at one place"),
        (_sparse([4, 5, 1], dims=[2, 3]), "is sparse and has [2] values at [3] places: [n]"),
        (_sparse([4, 5], dims=[2, 0]), "is sparse and has the shape [2, 0]"),
        (_sparse([0, 1], dims=[2**40, 2**20]), "of shape [1099511627776, 1048576] needs 4.0 EiB"),
        (_sparse(np.array([0, 1], np.int32), dims=[6]), "are no 64-bit integers"),
    ],
)
def test_a_sparse_weight_that_contradicts_itself(tmp_path, sparse, message):
    model = network()
    model.graph.sparse_initializer.append(sparse)
    refused(tmp_path, model, re.escape(message))


@pytest.mark.parametrize("in_rows", [True, False])
def test_a_sparse_weight_is_read(tmp_path, in_rows):
    """As ONNX Runtime reads it; places in rows, or with a number for each axis."""
    weight = np.zeros((3, 2, 3, 3), np.float32)
    places = np.array([1, 5, 20, 53], np.int64)
    weight.reshape(-1)[places] = [1, -2, 3, 0.5]
    kept = places if in_rows else np.stack(np.unravel_index(places, weight.shape), 1)
    sparse = onnx.helper.make_sparse_tensor(
        numpy_helper.from_array(weight.reshape(-1)[places], "w"),
        numpy_helper.from_array(kept), list(weight.shape),
    )  # fmt: skip
    shapes = [(1, 2, 8, 8), (1, 3, 6, 6)]
    ends = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in zip("xy", shapes, strict=True)]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    body = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], sparse_initializer=[sparse])
    imports = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(body, opset_imports=imports, ir_version=9)
    onnx.save(model, tmp_path / "sparse.onnx")
    loaded = graph.load_file(tmp_path / "sparse.onnx")
    np.testing.assert_array_equal(graph.constant(loaded.graph.initializers["w"]), weight)
    x = np.random.default_rng(0).standard_normal(shapes[0]).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    found = graph.evaluate(loaded, {"x": torch.from_numpy(x)})["y"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_constant_of_two_values(tmp_path):
    model = network()
    node = onnx.helper.make_node("Constant", [], ["spare"], value_float=1.0, value_int=1)
    reader = onnx.helper.make_node("Conv", ["nowhere", "spare"], ["b"])
    model.graph.node.extend([node, reader])
    refused(tmp_path, model, "Constant 'spare': exactly one attribute is required, got 'value_fl")


def test_a_type_that_is_no_tensor_is_unsupported(tmp_path):
    model = network()
    value = model.graph.value_info.add(name="a")
    value.type.map_type.key_type = onnx.TensorProto.INT64
    value.type.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    refused(tmp_path, model, "cannot be represented: Map types are not supported", UnsupportedError)


def test_a_shape_beyond_the_machine_says_how_much(tmp_path):
    model = parse(
        "(float[1,3,2000000,2000000] x) => (float[1,3,2000000,2000000] y) { y = Relu(x) }"
    )
    refused(
        tmp_path,
        model,
        r"input 'x' of shape \[1,3,2000000,2000000\] needs 43\.7 TiB of memory and this machine "
        r"has [\d.]+ GiB: use a smaller input",
    )


def test_a_value_beyond_the_machine_names_its_node(tmp_path):
    model = parse(
        """(float[1,1,1,1] x) => (float y) {
        n = Constant<value_ints=[1, 64, 1000000, 1000000]>()
        y = Expand(x, n) }"""
    )
    model.graph.node[1].name = "blow"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    refused(tmp_path, model, r"the output of Expand 'blow' of shape .* needs 232\.8 TiB of memory")


def test_a_generated_weight_beyond_the_machine_is_not_generated(tmp_path):
    model = parse(
        """(float[1,3,4,4] x) => (float y) {
        n = Constant<value_ints=[1000000, 3, 1000, 1000]>()
        w = ConstantOfShape(n)
        y = Conv<pads=[999, 999, 999, 999]>(x, w) }"""
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    refused(tmp_path, model, r"the output of ConstantOfShape 'w' .* needs 10\.9 TiB of memory")


def test_a_message_is_checked_like_a_file():
    model = parse("(float[2] x) => (float[2] y) { y = Add(x, lost) }")

    with pytest.raises(InputError, match="the ONNX message: Add 'y' reads 'lost'"):
        graph.from_proto(model)
