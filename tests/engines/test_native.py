"""The native engine computes what float64 does, on every geometry, and refuses the rest clearly."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlcnn import engines, zoo
from mlcnn.engines.compilers import c_compiler
from mlcnn.engines.native import Native, library
from mlcnn.errors import UnsupportedError
from mlcnn.graph import evaluate, from_module, from_proto
from mlcnn.passes import pipeline


def network(nodes, weights, channels: int, *, size=("H", "W"), opset: int = 20) -> ir.Model:
    """x (N, channels, H, W) -> nodes -> y."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10))


def parsed(body: str, *, opset: int = 20, channels: int = 20, size: int = 6) -> ir.Model:
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]>
        net (float[N, {channels}, {size}, {size}] x) => (float[] y) {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return from_proto(proto)


def assert_computes(
    model: ir.Model, image: np.ndarray, march: str = "native", algorithm: str = "auto"
) -> None:
    """Engine native against torch in float64.

    Rounding may cost 1e-5 of the largest result, or of the terms (about 1) where those cancel.
    """
    name = model.graph.outputs[0].name
    session = Native(march, algorithm).prepare(model)
    expected = evaluate(model, {model.graph.inputs[0].name: torch.from_numpy(image)})[name].numpy()
    found = session.run({model.graph.inputs[0].name: image})[name]
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    atol = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw) -> tuple[ir.Model, np.ndarray]:
    groups = draw(st.sampled_from([1, 1, 2, 3, 8, 20]))
    inner, outer = draw(st.integers(1, 40 // groups + 1)), draw(st.integers(1, 40 // groups + 1))
    if draw(st.booleans()) and groups > 1:
        inner = outer = 1  # depth-wise
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilations, strides = draw(pair), draw(pair)
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    size = [
        draw(st.integers(max(1, (k - 1) * d + 1 - a - b), 14))
        for k, d, a, b in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, filters = groups * inner, groups * outer
    weights = {
        "w": generator.standard_normal((filters, inner, *kernel), np.float32),
        "b": generator.standard_normal(filters, np.float32),
    }
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y" if (plain := draw(st.booleans())) else "t"],
        group=groups, dilations=dilations, strides=strides, pads=pads,
    )  # fmt: skip
    nodes = [node] if plain else [node, helper.make_node("Relu", ["t"], ["y"])]
    image = generator.standard_normal((draw(st.integers(1, 3)), channels, *size), np.float32)
    return network(nodes, weights, channels), image


@pytest.mark.parametrize("march", MARCHES)
@given(case=convolutions())
def test_convolutions_of_any_geometry(march: str, case: tuple[ir.Model, np.ndarray]) -> None:
    assert_computes(*case, march)


def pool(draw, source: str, result: str) -> onnx.NodeProto:
    kernel = draw(pair)
    pads = [draw(st.integers(0, k // 2)) for k in (*kernel, *kernel)]
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    options = {"count_include_pad": draw(st.integers(0, 1))} if kind == "AveragePool" else {}
    return helper.make_node(
        kind, [source], [result], kernel_shape=kernel, strides=draw(pair), pads=pads,
        dilations=[1, 1], ceil_mode=draw(st.integers(0, 1)), **options,
    )  # fmt: skip


@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data())
def test_pools_of_any_geometry(march: str, data) -> None:
    """One alone, and one whose result only the next one reads."""
    nodes = [pool(data.draw, "x", "t"), pool(data.draw, "t", "y")][data.draw(st.integers(0, 1)) :]
    nodes[0].input[0] = "x"
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = [data.draw(st.integers(9, 14)) for _ in range(2)]
    image = generator.standard_normal((data.draw(st.integers(1, 2)), 18, *size), np.float32)
    assert_computes(network(nodes, {}, 18, opset=22), image, march)


BODIES = {
    "relu": "y = Relu(x)",
    "clip": "a = Constant<value_float=-0.5>() b = Constant<value_float=0.7>() y = Clip(x, a, b)",
    "leaky": "y = LeakyRelu<alpha=0.2>(x)",
    "sigmoid": "y = Sigmoid(x)",
    "silu": "t = Sigmoid(x) y = Mul(x, t)",
    "tanh": "y = Tanh(x)",
    "hard-swish": "y = HardSwish(x)",
    "hard-sigmoid": "y = HardSigmoid<alpha=0.3, beta=0.4>(x)",
    "gelu": "y = Gelu(x)",
    "elu": "y = Elu<alpha=0.5>(x)",
    "exp": "y = Exp(x)",
    "erf": "y = Erf(x)",
    "sqrt": "t = Abs(x) y = Sqrt(t)",
    "neg": "y = Neg(x)",
    "twice": "t = Exp(x) y = Add(t, t)",
    "sub": "t = Exp(x) u = Sub(x, t) y = Relu(u)",
    "div": "t = Exp(x) y = Div(x, t)",
    "max": "t = Neg(x) y = Max(x, t)",
    "min": "t = Exp(x) y = Min(x, t)",
    "scalars": """two = Constant<value_float=2.0>() a = Mul(x, two) b = Sub(two, a) c = Div(b, two)
        y = Add(two, c)""",
    "squeeze-excite": "m = GlobalAveragePool(x) s = Sigmoid(m) y = Mul(s, x)",
    "global-max": "y = GlobalMaxPool(x)",
    "mean": "axes = Constant<value_ints=[2, 3]>() y = ReduceMean<keepdims=0>(x, axes)",
    "concat-of-odd-parts": """t = Exp(x) u = Concat<axis=1>(x, t) v = Neg(x)
        y = Concat<axis=1>(v, u)""",
    "concat-of-itself": "y = Concat<axis=1>(x, x)",
    "part-of-two": "t = Exp(x) u = Concat<axis=1>(x, t) v = Concat<axis=1>(t, x) y = Sub(u, v)",
    "other-blocks": """t = Exp(x) u = Concat<axis=1>(x, t) k = Constant<value_ints=[0, 40, 6, 6]>()
        f = Flatten(u) r = Reshape(f, k) v = Neg(r) m = MaxPool<kernel_shape=[1, 1]>(v)
        y = Add(u, m)""",
    "slice": """a = Constant<value_ints=[1, 0]>() b = Constant<value_ints=[6, 5]>()
        c = Constant<value_ints=[2, 3]>() d = Constant<value_ints=[2, 1]>()
        y = Slice(x, a, b, c, d)""",
    "first-channels": """a = Constant<value_ints=[0]>() b = Constant<value_ints=[13]>()
        c = Constant<value_ints=[1]>() t = Neg(x) y = Slice(t, a, b, c)""",
    "features-padded-and-cut": """f = Flatten(x) p = Constant<value_ints=[0, 0, 0, 5]>()
        g = Pad(f, p) a = Constant<value_ints=[0]>() b = Constant<value_ints=[723]>()
        c = Constant<value_ints=[-1]>() s = Slice(g, a, b, c) y = Exp(s)""",
    "pad": "p = Constant<value_ints=[0, 3, 1, 2, 0, 18, 0, 1]>() y = Pad(x, p)",
    "transpose": "y = Transpose<perm=[0, 2, 3, 1]>(x)",
    "names": "a = Identity(x) b = MaxPool<kernel_shape=[2, 2]>(a) c = Identity(b) "
    "d = MaxPool<kernel_shape=[2, 2]>(c) e = GlobalMaxPool(b) y = Mul(d, e)",
    "flattened": "t = Neg(x) y = Flatten(t)",
}


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_operators(body: str, march: str) -> None:
    image = np.random.default_rng(7).standard_normal((2, 20, 6, 6), np.float32)
    assert_computes(parsed(body), 2 * image, march)


def test_functions_over_all_magnitudes() -> None:
    """Nothing overflows on the way, and NaN stays."""
    values = np.float32([0, 1e-30, 1e-3, 1, 20, 87, 88.5, 89, 1e4, 3e38, np.inf, np.nan])
    image = np.concatenate([values, -values]).reshape(1, 1, 4, 6)
    for body in ("y = Exp(x)", "y = Sigmoid(x)", "y = Tanh(x)", "y = Elu(x)", "y = Relu(x)"):
        model = parsed(body, channels=1, size=0)
        model.graph.inputs[0].shape = ir.Shape(["N", 1, 4, 6])
        found = Native().prepare(model).run({"x": image})["y"]
        expected = evaluate(model, {"x": torch.from_numpy(image)})["y"].numpy()
        with np.errstate(over="ignore"):
            expected = expected.astype(np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-37, err_msg=body)


def dense(options: dict[str, float], transposed: bool, inputs: int) -> ir.Model:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((inputs, 21), np.float32)
    weights = {"w": weight.T if transposed else weight, "b": generator.standard_normal(21)}
    weights["b"] = weights["b"].astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=int(transposed), **options),
    ]
    return network(nodes, weights, 18, size=(3, 2))


@pytest.mark.parametrize("images", [1, 5, 30])
@pytest.mark.parametrize("options", [{}, {"alpha": 0.5, "beta": 2.0}])
@pytest.mark.parametrize("transposed", [False, True])
def test_dense_layers(transposed: bool, options: dict[str, float], images: int) -> None:
    image = np.random.default_rng(4).standard_normal((images, 18, 3, 2), np.float32)
    assert_computes(dense(options, transposed, 108), image)


@pytest.mark.parametrize("behind", ["", "Relu"])
@pytest.mark.parametrize("order", [("c", "s"), ("s", "c")])
def test_what_is_added_to_a_convolution(order: tuple[str, str], behind: str) -> None:
    generator = np.random.default_rng(6)
    weights = {"w": generator.standard_normal((20, 20, 3, 3), np.float32)}
    nodes = [
        helper.make_node("Exp", ["x"], ["s"]),
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Add", list(order), ["a" if behind else "y"]),
        *([helper.make_node(behind, ["a"], ["y"])] if behind else []),
    ]
    image = generator.standard_normal((2, 20, 5, 5), np.float32)
    assert_computes(network(nodes, weights, 20), image)


def test_a_value_inside_a_network_may_be_an_output() -> None:
    """What is read from outside is not merged into what follows it."""
    generator = np.random.default_rng(8)
    model = network(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2]),
            helper.make_node("MaxPool", ["m"], ["y"], kernel_shape=[2, 2]),
        ],
        {"w": generator.standard_normal((5, 3, 3, 3), np.float32)},
        3,
    )
    inner = [node.outputs[0] for node in model.graph][:3]
    model.graph.outputs.extend(inner)
    image = generator.standard_normal((1, 3, 9, 9), np.float32)
    found = Native(algorithm="direct").prepare(model).run({"x": image})
    expected = evaluate(model, {"x": torch.from_numpy(image)})
    assert set(found) == {"c", "r", "m", "y"}
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=0, atol=1e-5)


SMALL = ["lenet5", "resnet20"]
LARGE = sorted(set(zoo.names()) - set(SMALL))


@pytest.mark.parametrize("passes", ["", "mlcnn"])
@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(large, marks=pytest.mark.long) for large in LARGE)]
)
def test_zoo_networks(name: str, passes: str) -> None:
    torch.manual_seed(1)
    example = torch.zeros(1, *zoo.describe(name).input_shape)
    model = from_module(zoo.build(name).eval(), (example,))
    if passes:
        model = pipeline.run(model, pipeline.parse(passes)).model
    for batch in (1, 2):
        inputs = engines.random_inputs(model, batch)
        found = next(iter(Native().prepare(model).run(inputs).values()))
        tensors = {key: torch.from_numpy(array) for key, array in inputs.items()}
        expected = next(iter(evaluate(model, tensors).values())).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_threads_may_share_a_session() -> None:
    session = Native().prepare(parsed("t = Exp(x) y = Sub(t, x)", size=30))
    images = [np.full((1, 20, 30, 30), index / 8, np.float32) for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: session.run({"x": image})["y"], images))
    for index, array in enumerate(found):
        np.testing.assert_allclose(array, np.exp(index / 8) - index / 8, rtol=1e-5)


REFUSED = {
    "y = Softplus(x)": "operator 'Softplus' has no kernel; use engine 'onnxruntime'",
    "y = Concat<axis=2>(x, x)": "another axis than the channels is not supported",
    "p = Constant<value_ints=[0, 0, 1, 1, 0, 0, 1, 1]>() y = Pad<mode=\"edge\">(x, p)":
        "this way of padding is not supported",
    "a = Constant<value_ints=[1]>() y = ReduceMean(x, a)":
        "a mean over other axes than rows and columns is not supported",
    "y = Gelu<approximate=\"tanh\">(x)": "this variant is not supported",
    "w = Exp(x) y = Conv(x, w)": "a weight that is not constant is not supported",
}  # fmt: skip


@pytest.mark.parametrize(("body", "told"), REFUSED.items())
def test_what_it_lacks_is_told(body: str, told: str) -> None:
    image = np.zeros((1, 20, 6, 6), np.float32)
    with pytest.raises(UnsupportedError) as failure:
        Native().prepare(parsed(body)).run({"x": image})
    message = str(failure.value)
    assert told in message
    assert message.startswith("native: node")
    assert "\n" not in message


def test_without_a_compiler(monkeypatch, convolution) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    library.load.cache_clear()
    with pytest.raises(UnsupportedError, match="needs a C compiler: install gcc or clang"):
        Native().prepare(convolution)
    assert "native" not in engines.available()


def test_a_compiler_that_fails(monkeypatch, tmp_path, convolution) -> None:
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    with pytest.raises(UnsupportedError, match=r"does not compile its kernels.*set CC to another"):
        Native().prepare(convolution)
    assert not list((tmp_path / "mlcnn").iterdir())


def test_kernels_are_compiled_once(monkeypatch, tmp_path, convolution) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    Native().prepare(convolution)
    (made,) = (tmp_path / "mlcnn").iterdir()
    before = made.stat().st_mtime_ns
    library.load.cache_clear()
    Native().prepare(convolution)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "mlcnn").iterdir()] == [before]
    library.load.cache_clear()


@pytest.mark.long  # compiles all kernels anew
def test_no_home_for_the_cache(monkeypatch, tmp_path) -> None:
    """Without a folder of the user's, the kernels go to a new one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    library.load.cache_clear()
    assert_computes(parsed("y = Neg(x)"), np.ones((1, 20, 6, 6), np.float32))
    library.load.cache_clear()
    assert list(tmp_path.glob("mlcnn-*/kernels-*.so"))


def test_many_shapes_of_one_session() -> None:
    session = Native().prepare(parsed("y = Exp(x)", size=2))
    for _ in range(2):
        for images in range(1, 8):
            image = np.full((images, 20, 2, 2), images / 4, np.float32)
            np.testing.assert_allclose(session.run({"x": image})["y"], np.exp(image), rtol=1e-6)


@pytest.mark.long  # compiles all kernels anew
def test_a_compiler_with_arguments(monkeypatch, tmp_path, convolution) -> None:
    """``CC`` is a command, as make reads it: with options, or behind a program such as ccache."""
    shim, seen = tmp_path / "a shim", tmp_path / "seen"
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nexec "$@"\n')
    shim.chmod(0o755)
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    monkeypatch.setenv("CC", f"{found} -O1")
    assert c_compiler() == (found, "-O1")
    monkeypatch.setenv("CC", f"'{shim}' {found} -O1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    Native().prepare(convolution)
    assert "native" in engines.available()
    assert seen.read_text().splitlines()[:2] == [found, "-O1"]
    library.load.cache_clear()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no-such-cc -O1", "CC is 'no-such-cc -O1', and no program 'no-such-cc' is found"),
        ("gcc 'open", 'CC is "gcc \'open", and it is no command'),
    ],
)
def test_a_compiler_that_is_not_there(monkeypatch, convolution, given: str, told: str) -> None:
    monkeypatch.setenv("CC", given)
    library.load.cache_clear()
    with pytest.raises(UnsupportedError) as failure:
        Native().prepare(convolution)
    assert str(failure.value) == (
        f"engine 'native' needs a C compiler: {told}: set CC to a C compiler, or unset it, or use "
        "engine 'onnxruntime'"
    )


def test_a_blank_cc_counts_as_unset(monkeypatch) -> None:
    monkeypatch.setenv("CC", " ")
    assert c_compiler() is not None
