"""Focused layers of engine native: the convolution times its mask, in any geometry and form."""

from contextlib import suppress

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from engines.processors import MARCHES
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from passes.test_focus import SIZE, Net

from mlcnn import load
from mlcnn.engines import get
from mlcnn.engines.native import Native
from mlcnn.engines.native.library import Op
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_module, from_proto, save
from mlcnn.passes.exit_heads import exit_points
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms

SMALL = st.integers(1, 3)
_TYPES = {np.dtype(bool): TensorProto.BOOL, np.dtype(np.float32): TensorProto.FLOAT}


@st.composite
def layers(draw):
    """A convolution's attributes, sizes and mask; the output has at least one place."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    each, outer = (draw(st.sampled_from([1, 3, 16, 21])) for _ in range(2))
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (1, 1), (2, 3), (5, 1)]))
    strides, dilations = (
        draw(st.one_of(st.just((1, 1)), st.tuples(SMALL, SMALL))) for _ in range(2)
    )
    size = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    assume(all(size[i] + pads[i] + pads[i + 2] >= extents[i] for i in (0, 1)))
    return {
        "channels": groups * each, "filters": groups * outer, "kernel": kernel, "size": size,
        "attributes": {"group": groups, "strides": strides, "dilations": dilations, "pads": pads},
        "batch": draw(st.integers(1, 3)), "kept": draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])),
        "behind": draw(st.sampled_from(["nothing", "Relu", "Sigmoid"])),
        "residual": draw(st.booleans()), "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


def focused(layer):
    """A network, its inputs, and what float64 computes."""
    rng, attributes = np.random.default_rng(layer["seed"]), layer["attributes"]
    channels, groups = layer["channels"], attributes["group"]
    weight = rng.standard_normal((layer["filters"], channels // groups, *layer["kernel"]))
    weight /= np.sqrt(np.prod(weight.shape[1:]))
    bias = rng.standard_normal(layer["filters"])
    image = rng.standard_normal((layer["batch"], channels, *layer["size"]))
    top, left, bottom, right = attributes["pads"]
    sums = F.conv2d(
        F.pad(torch.from_numpy(image.astype(np.float32)).double(), (left, right, top, bottom)),
        torch.from_numpy(weight.astype(np.float32)).double(),
        torch.from_numpy(bias.astype(np.float32)).double(),
        attributes["strides"], 0, attributes["dilations"], groups,
    )  # fmt: skip
    mask = rng.uniform(size=(layer["batch"], 1, *sums.shape[2:])) < layer["kept"]
    result = sums * torch.from_numpy(mask)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["sums"], **attributes),
        helper.make_node("Where", ["mask", "sums", "zero"], ["kept"]),
    ]
    inputs = {"x": image.astype(np.float32), "mask": mask}
    last = "kept"
    if layer["residual"]:
        nodes.append(helper.make_node("Add", [last, "z"], ["added"]))
        inputs["z"] = rng.standard_normal(tuple(sums.shape)).astype(np.float32)
        result, last = result + torch.from_numpy(inputs["z"]), "added"
    if layer["behind"] != "nothing":
        nodes.append(helper.make_node(layer["behind"], [last], ["done"]))
        result = getattr(torch, layer["behind"].lower())(result)
        last = "done"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    stored = {"w": weight, "b": bias, "zero": np.zeros(())}
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info(name, _TYPES[array.dtype], array.shape)
         for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, tuple(sums.shape))],
        [numpy_helper.from_array(array.astype(np.float32), name)
         for name, array in stored.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return from_proto(proto), inputs, result.numpy()


def assert_computes(layer, march="native", algorithm="direct"):
    """Engine native within 1e-5 of float64; what it has done."""
    model, inputs, expected = focused(layer)
    session = Native(march, algorithm).prepare(model)
    (found,) = session.run(inputs).values()
    allowed = 1e-5 * max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
    return session


@pytest.mark.parametrize("march", MARCHES)
@settings(max_examples=25)
@given(layer=layers())
def test_a_layer_is_the_convolution_times_its_mask(march, layer):
    assert_computes(layer, march)
    geometry = layer["attributes"]
    if layer["kernel"] == (3, 3) and geometry["strides"] == geometry["dilations"] == (1, 1):
        with suppress(UnsupportedError):  # depthwise, few channels, or one result: no transform
            assert_computes(layer, march, "winograd")


LAYER = {
    "channels": 40, "filters": 70, "kernel": (3, 3), "size": (19, 22), "batch": 2, "kept": 0.6,
    "attributes": {"group": 1, "strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)},
    "behind": "Relu", "residual": True, "seed": 3,
}  # fmt: skip


def _steps(session):
    """The steps of a session's program."""
    (calls,) = session._programs.values()
    return list(calls.program.steps)


@pytest.mark.parametrize("march", MARCHES)
def test_mask_sum_and_activation_are_one_operation_of_lists_and_tiles(march):
    for algorithm, told in (
        ("direct", "list"),
        ("winograd", "list, and Winograd F(4x4, 3x3) of tiles"),
    ):
        session = assert_computes(LAYER, march, algorithm)
        (listed,) = (step for step in _steps(session) if step.op == Op.LIST)
        assert not {Op.KEEP, Op.BINARY, Op.MAP} & {step.op for step in _steps(session)}
        assert [choice.algorithm for choice in session.algorithms] == [told]
        assert session.algorithms[0].geometry.endswith("+ residual, focused")
        assert (0 < listed.least < 16) == (algorithm == "winograd")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 1.0])
def test_images_of_many_positions_are_listed_in_bands(kept):
    large = {**LAYER, "channels": 5, "filters": 9, "size": (70, 90), "kept": kept}
    for algorithm in ("direct", "winograd"):
        assert_computes(large, "native", algorithm)
    assert_computes({**large, "size": (2, 5000), "residual": False})


def test_a_depthwise_layer_is_computed_whole_and_then_masked():
    geometry = {**LAYER["attributes"], "group": 40}
    session = assert_computes({**LAYER, "filters": 40, "attributes": geometry, "residual": False})
    assert {Op.DEPTHWISE, Op.KEEP} <= {step.op for step in _steps(session)}
    assert any("computed whole, then masked" in note for note in session.notes)


def test_weights_beyond_the_caches_are_read_in_parts():
    assert_computes({**LAYER, "channels": 200, "filters": 64, "size": (9, 8)})


def test_a_wrong_list_is_caught():
    """The mask of the next image, and one without a row's beginning."""
    model, inputs, expected = focused(LAYER)
    for wrong in (inputs["mask"][::-1], np.roll(inputs["mask"], 1, 3)):
        (found,) = Native().prepare(model).run({**inputs, "mask": wrong}).values()
        assert np.abs(found - expected).max() > 1e-2


@pytest.mark.parametrize("shape", [(1, 40, 19, 22), (1, 1, 1, 22)])
def test_other_conditions_are_refused(shape):
    model, inputs, _ = focused({**LAYER, "batch": 1, "residual": False})
    mask = next(value for value in model.graph.inputs if value.name == "mask")
    mask.shape = ir.Shape(shape)
    with pytest.raises(UnsupportedError, match="mask"):
        Native().prepare(model).run({**inputs, "mask": np.ones(shape, bool)})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return from_module(Net().eval(), (torch.zeros(2, 3, *SIZE),))


_THRESHOLDS = {"contrast": 1.4, "brightness": 1.6, "centre": 0.4, "input": 0.0}


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("source", [*_THRESHOLDS])
@pytest.mark.parametrize("form", ["operator", "mask", "gather", "rect"])
def test_whole_networks_in_any_form(model, march, source, form, tmp_path):
    """Saved and loaded, under every rule, image by image and together."""
    images = np.random.default_rng(1).normal(size=(5, 3, *SIZE)).astype(np.float32)
    given = {"mask": np.random.default_rng(2).uniform(size=(5, 1, *SIZE)) < 0.3}
    at = dict(exit_points(model))["stem"]
    for grow, stride in (("same", "any"), ("patch", "majority"), ("grow", "any")):
        made = Focus(at, source, _THRESHOLDS[source], grow=grow, stride=stride).apply(model).model
        save(made if form == "operator" else with_forms(made, form), tmp_path / "net.onnx")
        saved = load(tmp_path / "net.onnx")
        session = Native(march, "direct").prepare(saved)
        for some in (slice(None), slice(2, 3)):
            inputs = {made.graph.inputs[0].name: images[some]}
            inputs |= {name: mask[some] for name, mask in given.items() if source == "input"}
            (expected,) = get("onnxruntime").prepare(made).run(inputs).values()
            (found,) = session.run(inputs).values()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        # A layer of groups may be several convolutions.
        focused_layers = {a.layer for a in session.algorithms if a.algorithm == "list"}
        assert len(focused_layers) == 4
