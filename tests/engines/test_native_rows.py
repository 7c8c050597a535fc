"""Convolutions of engine native with few filters: vectors hold the results of a row."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native import network
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from mlcnn import engines, zoo
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.geometry import rows_fit
from mlcnn.engines.native.library import Library, Op, load
from mlcnn.engines.native.lowering import lower, suited
from mlcnn.engines.native.machine import Machine
from mlcnn.graph import evaluate, infer_shapes


@st.composite
def layers(draw) -> tuple[ir.Model, np.ndarray]:
    """An input of few channels, few filters, and what is done with their results."""
    channels, filters = draw(st.integers(1, 4)), draw(st.integers(1, 20))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = {
        "w": generator.standard_normal((filters, channels, *kernel), np.float32),
        "b": generator.standard_normal(filters, np.float32),
    }
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["t"],
            strides=[draw(st.integers(1, 2)), 1], dilations=dilations, pads=pads,
        ),
        helper.make_node(draw(st.sampled_from(["Relu", "Identity", "Sigmoid"])), ["t"], ["y"]),
    ]  # fmt: skip
    size = draw(st.tuples(st.integers(9, 14), st.integers(9, 70)))
    image = generator.standard_normal((draw(st.integers(1, 3)), channels, *size), np.float32)
    return network(nodes, weights, channels), image


@pytest.mark.parametrize("march", MARCHES)
@given(case=layers())
def test_any_geometry(march: str, case: tuple[ir.Model, np.ndarray]) -> None:
    model, image = case
    expected = evaluate(model, {"x": torch.from_numpy(image)})["y"].numpy()
    found = Native(march).prepare(model).run({"x": image})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def fixed(name: str) -> ir.Model:
    model = engines.fix_shapes(zoo.load(name), {"x": (1, 3, 32, 32)})
    infer_shapes(model)
    return model


def operations(library: Library, name: str) -> list[Op]:
    choose = Choosing("direct", Machine(1e9, 1e9), 1, 1).chooser(library)
    return [operation.op for operation in lower(fixed(name), library, choose)]


@pytest.mark.parametrize("march", MARCHES)
def test_first_layer_of_lenet5(march: str) -> None:
    """6 filters use at most 6 of 8 lanes: its first layer is computed by rows."""
    library = suited(fixed("lenet5"), march)
    assert library.block in {4, 8}
    assert operations(library, "lenet5").count(Op.ROWS) == 1


def test_filters_that_fill_their_lanes_are_lanes() -> None:
    assert Op.ROWS not in operations(load(), "vgg16")
    assert not rows_fit(filters=16, columns=32, stride=1, block=16)
    assert not rows_fit(filters=6, columns=32, stride=2, block=8)
    assert not rows_fit(filters=6, columns=7, stride=1, block=8)
