"""Branches in engine native: what runs is what the condition says, and equals ONNX Runtime."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from mlcnn.engines import get
from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.branches import flattened
from mlcnn.engines.native.library import load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.program import Program
from mlcnn.engines.native.regions import Regions
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_proto, infer_shapes, inline, save, tensor_bytes
from mlcnn.passes import pipeline
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads

CHANNELS, CLASSES = 20, 5
NATIVE = Native(algorithm="direct")
_IF = """<ir_version: 10, opset_import: ["" : 20]>
net (float[{batch}, 3, 6, 6] x{more}) => (float[{batch}, 4, 6, 6] y)
{{
    before = Relu (x)
    {condition}
    y = If (go) <
        then_branch = taken () => (yes) {{ t = Conv <pads = [1, 1, 1, 1]> (before, w) {then} }},
        else_branch = skipped () => (no) {{ {other} }}
    >
}}"""
_LIMIT = """most = ReduceMax <keepdims = 0> (x)
    limit = Constant <value_float = {limit}> ()
    go = {operator} (most, limit)"""


def with_weights(text: str, **shapes: tuple[int, ...]) -> ir.Model:
    """A network that is written down, with random weights."""
    proto, rng = onnx.parser.parse_model(text), np.random.default_rng(3)
    for name, shape in shapes.items():
        array = rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in proto.graph.node:
        node.name = node.output[0]
    return from_proto(proto)


def conditional(batch=1, *, limit=0.5, operator="Greater", then="yes = Relu (t)",
                other="no = Conv (before, v)", condition=None, more="") -> ir.Model:  # fmt: skip
    """A convolution of 3x3, or one of 1x1."""
    condition = condition or _LIMIT.format(limit=limit, operator=operator)
    text = _IF.format(batch=batch, condition=condition, then=then, other=other, more=more)
    return with_weights(text, w=(4, 3, 3, 3), v=(4, 3, 1, 1))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-5 of the largest number."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def both(model: ir.Model, **inputs: np.ndarray) -> np.ndarray:
    """What native computes, which ONNX Runtime computes, too."""
    (expected,) = get("onnxruntime").prepare(model).run(inputs).values()
    (found,) = NATIVE.prepare(model).run(inputs).values()
    close(found, expected)
    return found


@given(
    batch=st.integers(1, 3),
    limit=st.floats(-3, 3, width=32),
    operator=st.sampled_from(("Greater", "Less", "GreaterOrEqual", "LessOrEqual")),
    seed=st.integers(0, 99),
)
def test_either_branch(batch, limit, operator, seed):
    x = np.random.default_rng(seed).normal(size=(batch, 3, 6, 6)).astype(np.float32)
    both(conditional(batch, limit=limit, operator=operator), x=x)


@pytest.mark.parametrize("operator", ["GreaterOrEqual", "LessOrEqual", "Equal", "Less", "Greater"])
def test_a_tie_is_decided_as_the_operator_says(operator):
    x = np.full((1, 3, 6, 6), 0.5, np.float32)
    both(conditional(operator=operator), x=x)


@pytest.mark.parametrize("go", [False, True])
def test_a_condition_that_is_an_input(go):
    x = np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)
    model = conditional(condition="go = Not (stop)", more=", bool[1] stop")
    both(model, x=x, stop=np.array([go]))


@pytest.mark.parametrize("condition", [
    "go = Constant <value = bool[1] {1}> ()",
    """least = ReduceMin <keepdims = 0> (x) some = ReduceSum <keepdims = 0> (x)
    low = Less (least, some) high = Equal (least, least) other = Not (low) any = Or (other, low)
    go = And (any, high)""",
])  # fmt: skip
def test_other_conditions(condition):
    both(conditional(condition=condition), x=np.ones((1, 3, 6, 6), np.float32))


def test_a_branch_of_a_constant_and_one_inside_another():
    inner = """
        least = ReduceMin <keepdims = 0> (x)
        yes = If (go) <
            then_branch = a () => (p) { p = Relu (t) }, else_branch = b () => (q) { q = Neg (t) }
        >"""
    zeros = "no = Constant <value = float[1, 4, 6, 6] {" + ", ".join(["0.25"] * 144) + "}> ()"
    for value in (0.1, 0.9):
        x = np.full((1, 3, 6, 6), value, np.float32)
        both(conditional(then=inner, other=zeros), x=x)


def test_what_only_a_branch_needs_is_not_computed_outside():
    flat = flattened(conditional())
    found = {
        node.op_type + node.inputs[-1].name: [branch.index for branch in path]
        for node, path in Regions(flat.graph).paths.items()
    }
    assert (found["Convw"], found["Relut"], found["Convv"]) == ([1], [1], [2])
    assert found["Relux"] == found["ReduceMaxx"] == []


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ("no = Relu (x)", r"an If whose branches give \[1, 4, 6, 6\] and \[1, 3, 6, 6\]"),
        ("no = Hardmax (x)", "operator 'Hardmax' has no kernel"),
    ],
)
def test_what_is_not_taken_is_one_error(other, what):
    model = conditional(other=other)
    x = np.zeros((1, 3, 6, 6), np.float32)
    with pytest.raises(UnsupportedError, match=f"native: node .*{what}.*'onnxruntime'"):
        NATIVE.prepare(model).run({"x": x})


def test_weights_that_both_branches_read_are_stored_once(tmp_path):
    model = conditional(other="no = Conv <pads = [1, 1, 1, 1]> (before, w)")
    save(model, tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    branches = [attribute.g for attribute in proto.graph.node[-1].attribute]
    assert [w.name for w in proto.graph.initializer] == ["w", "limit"]  # not v, which nothing reads
    assert not any(branch.initializer for branch in branches)


# -- exits


@pytest.fixture(scope="module")
def headed() -> ir.Model:
    """Residual blocks with two heads, none of which is ever very sure."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
    net (float[N, 3, 11, 9] x) => (float[N, {CLASSES}] scores)
    {{
        stem = Conv <pads = [1, 1, 1, 1]> (x, a)
        p = Relu (stem)
        inner = Conv <pads = [1, 1, 1, 1]> (p, b)
        sum = Add (inner, p)
        q = Relu (sum)
        wide = Conv <strides = [2, 2]> (q, c)
        pooled = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (wide)
        r = Relu (pooled)
        last = Conv (r, d)
        s = Relu (last)
        mean = GlobalAveragePool (s)
        flat = Flatten (mean)
        scores = Gemm <transB = 1> (flat, e)
    }}"""
    model = with_weights(
        text, a=(CHANNELS, 3, 3, 3), b=(CHANNELS, CHANNELS, 3, 3), c=(24, CHANNELS, 3, 3),
        d=(24, 24, 1, 1), e=(CLASSES, 24),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    points = dict(exit_points(model))
    heads = [
        Head(points[layer], 0.3 * rng.normal(size=(CLASSES, 4 * channels)), np.zeros(CLASSES))
        for layer, channels in (("inner", CHANNELS), ("wide", 24))
    ]
    return with_heads(model, heads)


def images(count: int, seed: int) -> np.ndarray:
    """Of differing contrast, so that some are sure."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 3, 11, 9)) * rng.gamma(1, 1, (count, 1, 1, 1))).astype(
        np.float32
    )


@given(
    count=st.integers(1, 9),
    limits=st.tuples(*[st.floats(0.25, 0.625, width=32)] * 2),
    seed=st.integers(0, 2**16),
    algorithm=st.sampled_from(("direct", "winograd")),
)
def test_exits_at_any_batch(headed, count, limits, seed, algorithm):
    first, second = limits
    dynamic = EarlyExit(f"exit1={first!r}+exit2={second!r}").apply(headed).model
    x = images(count, seed)
    (expected,) = get("onnxruntime").prepare(dynamic).run({"x": x}).values()
    (found,) = Native(algorithm=algorithm).prepare(dynamic).run({"x": x}).values()
    close(found, expected)


def test_some_of_these_images_leave_at_each_exit(headed):
    """So the test above has all cases, and thresholds met exactly are decided alike."""
    x = images(64, 1)
    scores = get("onnxruntime").prepare(headed).run({"x": x})
    sure = [np.exp(s - s.max(1, keepdims=True)) for s in (scores["exit1"], scores["exit2"])]
    first, second = ((s / s.sum(1, keepdims=True)).max(1) for s in sure)
    limits = float(np.median(first)), float(np.median(second[first < np.median(first)]))
    passes = (first < limits[0]).astype(int) + ((first < limits[0]) & (second < limits[1]))
    assert np.bincount(passes, minlength=3).min() > 8
    dynamic = EarlyExit(f"exit1={limits[0]!r}+exit2={limits[1]!r}").apply(headed).model
    found = both(dynamic, x=x)
    for number, name in enumerate(("exit1", "exit2", "scores")):
        close(found[passes == number], scores[name][passes == number])


def test_a_session_runs_again_with_other_images_and_batches(headed):
    dynamic = EarlyExit("exit1=0.35+exit2=0.35").apply(headed).model
    session, other = NATIVE.prepare(dynamic), get("onnxruntime").prepare(dynamic)
    for seed, count in enumerate((7, 7, 7, 1, 2, 7)):
        x = images(count, seed)
        (found,), (expected,) = (s.run({"x": x}).values() for s in (session, other))
        close(found, expected)


def test_an_exit_stores_each_weight_once(headed):
    dynamic = EarlyExit("exit1=0.35+exit2=0.35").apply(headed).model
    stored = {
        name: tensor_bytes(value.const_value)
        for graph in dynamic.graphs()
        for name, value in graph.initializers.items()
        if name in headed.graph.initializers
    }
    assert stored == {n: tensor_bytes(v.const_value) for n, v in headed.graph.initializers.items()}


def test_equal_constants_of_a_program_lie_in_memory_once():
    twice = conditional(other="no = Conv <pads = [1, 1, 1, 1]> (before, w)")
    sizes = []
    for model in (twice, conditional()):
        fixed = fix_shapes(flattened(inline(model)), {"x": (1, 3, 6, 6)})
        infer_shapes(fixed)
        choose = Choosing("direct", Machine(1e9, 1e9), 1, 1).chooser(load())
        sizes.append(Program(lower(fixed, load(), choose), load()).constants.size)
    assert sizes[0] < sizes[1]  # a second weight of 1x1 is more than none


def test_a_stage_with_a_fused_pool(headed):
    fused = pipeline.run(headed, pipeline.parse("fuse")).model
    assert any(node.domain == "mlcnn" for node in fused.graph)
    dynamic = EarlyExit("exit1=0.35").apply(fused).model
    x = images(8, 2)
    (found,) = NATIVE.prepare(dynamic).run({"x": x}).values()
    (expected,) = get("onnxruntime").prepare(inline(dynamic)).run({"x": x}).values()
    close(found, expected)


_SOME = """<ir_version: 10, opset_import: ["" : 20]>
net (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y)
{{
    limit = Constant <value_float = 1.5> ()
    most = ReduceMax <keepdims = 0> (x, axes)
    mask = Greater (most, limit)
    places = NonZero (mask)
    index = Transpose <perm = [1, 0]> (places)
    taken = {taken}
    made = {made}
    y = ScatterND (x, index, made)
}}"""


def some(taken="Compress <axis = 0> (x, mask)", made="Neg (taken)") -> ir.Model:
    """Images with a large number, without an If."""
    text = _SOME.format(taken=taken, made=made)
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3]), "axes"))
    return from_proto(proto)


def test_images_that_a_mask_chooses_without_an_if():
    x = np.random.default_rng(0).normal(size=(9, 3, 4, 4)).astype(np.float32)
    found = both(some(), x=x)
    assert 0 < (found == x).all((1, 2, 3)).sum() < 9
    both(some(), x=np.zeros((3, 3, 4, 4), np.float32))  # none


def test_what_mixes_an_unknown_number_of_images_is_refused():
    x = np.ones((4, 3, 4, 4), np.float32)
    with pytest.raises(UnsupportedError, match=r"a result of several images, .*'onnxruntime'"):
        NATIVE.prepare(some(made="Transpose <perm = [1, 0, 2, 3]> (taken)")).run({"x": x})
    with pytest.raises(UnsupportedError, match=r"\[4, 3, 4, 4\] numbers for some of 4 images"):
        NATIVE.prepare(some(made="Add (taken, x)")).run({"x": x})
