"""Grouped convolutions of engine native between two matrices: what float64 computes."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native import network
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import mlcnn
from mlcnn import engines, zoo
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.library import Library, Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.program import Operation
from mlcnn.graph import evaluate, infer_shapes, inline
from mlcnn.ops.block_circulant.transforms import backward_matrix, forward_matrix

SIZES = (2, 4, 8, 16)


@pytest.mark.parametrize("march", MARCHES)
def test_transforms_that_are_compiled_in(march: str) -> None:
    """The butterflies are the matrices that the form's nodes hold."""
    found = load(march).mixes
    matrices = [forward_matrix(k) for k in SIZES] + [backward_matrix(k) for k in SIZES]
    for compiled, matrix in zip(found, matrices, strict=True):
        np.testing.assert_allclose(compiled, matrix, rtol=0, atol=5e-7)


def matrices(draw, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(r, k) and (l, r): of a transform, or any."""
    if draw(st.booleans()):
        size = draw(st.sampled_from(SIZES))
        return forward_matrix(size).astype(np.float32), backward_matrix(size).astype(np.float32)
    k, r, last = draw(st.integers(1, 6)), draw(st.integers(2, 7)), draw(st.integers(1, 6))
    forth, back = (generator.standard_normal(shape, np.float32) for shape in ((r, k), (last, r)))
    return forth, back


@st.composite
def layers(draw) -> tuple[ir.Model, np.ndarray]:
    """Between matrices: full, half and partial blocks, strides, borders, what is done behind."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    forth, back = matrices(draw, generator)
    parts = st.sampled_from((1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32))
    (bins, k), (last, _) = forth.shape, back.shape
    q, p = draw(parts), draw(parts)
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = draw(st.tuples(st.integers(3, 14), st.integers(3, 14)))
    inside = [
        (s + a + b - n) // d + 1
        for s, a, b, n, d in zip(size, pads[:2], pads[2:], kernel, strides, strict=True)
    ]
    open_sizes = draw(st.booleans())
    ones = (1, 1) if open_sizes else ()
    ends = (lambda *c: [0, *c, -1, 0]) if open_sizes else (lambda *c: [0, *c, -1])
    weight = generator.standard_normal((bins * p, q, *kernel)) / np.sqrt(q * k * 9)
    weights = {
        "t": forth.reshape(*forth.shape, *ones), "s": back.reshape(*back.shape, *ones),
        "v": weight.astype(np.float32), "b": generator.standard_normal(bins * p, np.float32),
        "i1": ends(k), "i2": [0, bins * q, *size], "i3": ends(bins), "i4": [0, last * p, *inside],
        "g": generator.standard_normal(last * p, np.float32),
        "h": generator.uniform(0.5, 2, last * p).astype(np.float32),
    }  # fmt: skip
    product = (
        (lambda matrix, x, y: helper.make_node("Conv", [x, matrix], [y]))
        if open_sizes
        else (lambda matrix, x, y: helper.make_node("MatMul", [matrix, x], [y]))
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["x0"]),
        helper.make_node("Reshape", ["x0", "i1"], ["x1"]),
        product("t", "x1", "x2"),
        helper.make_node("Reshape", ["x2", "i2"], ["x3"]),
        helper.make_node("Conv", ["x3", "v", "b"], ["x4"], strides=strides, pads=pads, group=bins),
        helper.make_node("Reshape", ["x4", "i3"], ["x5"]),
        product("s", "x5", "x6"),
        helper.make_node("Reshape", ["x6", "i4"], ["x7"]),
    ]
    normed = draw(st.booleans())
    if normed:
        nodes.append(helper.make_node("BatchNormalization", ["x7", "g", "g", "g", "h"], ["x8"]))
    kind = draw(st.sampled_from(["Relu", "Identity", "Sigmoid", "LeakyRelu"]))
    nodes.append(helper.make_node(kind, ["x8" if normed else "x7"], ["y"]))
    image = generator.standard_normal((draw(st.integers(1, 5)), k * q, *size), np.float32)
    arrays = {
        name: np.asarray(a, np.int64 if name[0] == "i" else None) for name, a in weights.items()
    }
    return network(nodes, arrays, k * q, size=size), image


def lowered(model: ir.Model, library: Library, shape: tuple[int, ...]) -> list[Operation]:
    fixed = engines.fix_shapes(model, {"x": shape})
    infer_shapes(fixed)
    return lower(fixed, library, Choosing("direct", Machine(1e9, 1e9), 1, 1).chooser(library))


def is_one_operation(operations: list[Operation]) -> bool:
    """Besides those that move numbers, and what stands in front."""
    kinds = [operation.op for operation in operations]
    moving = {Op.PACK, Op.UNPACK, Op.MAP, Op.DEPTHWISE}
    return [kind for kind in kinds if kind not in moving] == [Op.MIX]


@pytest.mark.parametrize("algorithm", [pytest.param("direct", marks=pytest.mark.long), "auto"])
@pytest.mark.parametrize("march", MARCHES)
@given(case=layers())
def test_any_geometry(march: str, algorithm: str, case: tuple[ir.Model, np.ndarray]) -> None:
    model, image = case
    assert is_one_operation(lowered(model, load(march), image.shape))
    expected = evaluate(model, {"x": torch.from_numpy(image)})["y"].numpy()
    found = Native(march, algorithm).prepare(model).run({"x": image})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def layer(channels: int, filters: int, size: int, block: int = 8) -> ir.Model:
    """A 3x3 convolution, or a dense layer where there is no size, in bins."""
    generator = np.random.default_rng(0)
    shape = (filters, channels, 3, 3) if size else (filters, channels)
    weight = generator.standard_normal(shape) / np.sqrt(channels * (9 if size else 1))
    weights = {"w": weight.astype(np.float32), "b": generator.standard_normal(filters, np.float32)}
    first = (
        helper.make_node("Conv", ["x", "w", "b"], ["t"], pads=[1] * 4)
        if size
        else helper.make_node("Gemm", ["f", "w", "b"], ["t"], transB=1)
    )
    flat = [] if size else [helper.make_node("Flatten", ["x"], ["f"])]
    nodes = [*flat, first, helper.make_node("Relu", ["t"], ["y"])]
    model = network(nodes, weights, channels, size=(size or 1,) * 2)
    passes = f"block-circulant{{block={block},ends=true}},choose{{form=spectral}}"
    return mlcnn.optimize(model, passes=passes).model


def compare(model: ir.Model, batch: int, march: str = "native", algorithm: str = "auto") -> None:
    inputs = engines.random_inputs(model, batch)
    (expected,) = engines.get("onnxruntime").prepare(model).run(inputs).values()
    (found,) = Native(march, algorithm).prepare(model).run(inputs).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize(("channels", "filters", "size"), [(64, 64, 32), (128, 64, 16)])
def test_batches_that_are_computed_in_parts(
    channels: int, filters: int, size: int, march: str, algorithm: str
) -> None:
    """7 images, of which not all lie in the cache together, and no equal parts do."""
    compare(layer(channels, filters, size), 7, march, algorithm)


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("batch", [1, 5, 16])
@pytest.mark.parametrize(("channels", "filters"), [(512, 256), (100, 10), (64, 24)])
def test_dense_layers(channels: int, filters: int, batch: int, march: str) -> None:
    """Also of features that fill no blocks, whose inputs are padded and whose results are cut."""
    compare(layer(channels, filters, 0), batch, march)


def test_a_value_between_that_is_read_elsewhere_stays() -> None:
    """Then the nodes are computed one by one."""
    model = layer(64, 64, 8)
    assert is_one_operation(lowered(inline(model), load(), (1, 64, 8, 8)))
    opened = inline(model)
    conv = next(node for node in opened.graph if node.op_type == "Conv")
    opened.graph.outputs.append(conv.outputs[0])
    assert not is_one_operation(lowered(opened, load(), (1, 64, 8, 8)))


def test_threads_change_no_bit() -> None:
    passes = "reorder,block-circulant{block=8},fuse,choose{form=spectral}"
    model = mlcnn.optimize(zoo.load("vgg16"), passes=passes).model
    inputs = engines.random_inputs(model, 3)
    results = [Native(algorithm="auto").prepare(model, threads=n).run(inputs) for n in (1, 2, 3)]
    for found in results[1:]:
        for name, array in found.items():
            np.testing.assert_array_equal(array, results[0][name])
    compare(model, 3)


def test_a_choice_names_the_groups() -> None:
    model = layer(128, 128, 16)
    session = Native(algorithm="auto").prepare(model)
    session.run(engines.random_inputs(model, 1))
    (row,) = session.algorithms
    assert row.geometry == "1x16 -> 16x16x16, 3x3 pads 1,1,1,1, 11 groups"
