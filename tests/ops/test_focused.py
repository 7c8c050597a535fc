"""Focused convolutions: forms equal the definition, and deliberately wrong ones do not."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.engines import get
from mlcnn.graph import clone, evaluate, infer_shapes
from mlcnn.ops import Emitter
from mlcnn.ops.focused import Outside, focus, read
from mlcnn.ops.focused.forms import Gathered, Masked, Rectangle
from mlcnn.ops.focused.rules import Masks, Striding, Windowed
from mlcnn.ops.focused.shares import computed
from mlcnn.ops.geometry import Convolution, read_convolution
from mlcnn.passes.rewriting import emitter_for, install

FORMS = (Masked(), Gathered(), Rectangle())


@st.composite
def layers(draw):
    """A convolution's attributes, sizes and masks; its output has at least one place."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, strides, dilations, size = (
        tuple(draw(st.tuples(values, values)))
        for values in (st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 9))
    )
    pads = tuple(draw(st.tuples(*[st.integers(0, 2)] * 4)))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    spans = [size[i] + pads[i] + pads[i + 2] - extents[i] for i in (0, 1)]
    assume(min(spans) >= 0)
    grid = tuple(span // s + 1 for span, s in zip(spans, strides, strict=True))
    return {
        "groups": groups, "kernel": kernel, "strides": strides, "dilations": dilations,
        "size": size, "pads": pads, "grid": grid,
        "channels": groups * draw(st.integers(1, 3)), "filters": groups * draw(st.integers(1, 3)),
        "bias": draw(st.booleans()), "batch": draw(st.integers(1, 4)),
        "kept": draw(st.sampled_from([0.0, 0.2, 0.6, 1.0])), "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


def _focused(layer, dtype):
    """A network of one focused layer; images, masks, and what is right by torch."""
    rng = np.random.default_rng(layer["seed"])
    each = layer["channels"] // layer["groups"]
    weight = rng.normal(size=(layer["filters"], each, *layer["kernel"])).astype(dtype)
    bias = rng.normal(size=layer["filters"]).astype(dtype) if layer["bias"] else None
    images = rng.normal(size=(layer["batch"], layer["channels"], *layer["size"])).astype(dtype)
    masks = rng.uniform(size=(layer["batch"], 1, *layer["grid"])) < layer["kept"]
    kind = ir.DataType.from_numpy(np.dtype(dtype))
    batch = 1 if layer["batch"] == 1 else "n"
    x = ir.Value(name="x", shape=ir.Shape([batch, *images.shape[1:]]), type=ir.TensorType(kind))
    mask = ir.Value(
        name="mask",
        shape=ir.Shape([batch, 1, *layer["grid"]]),
        type=ir.TensorType(ir.DataType.BOOL),
    )
    stored = [ir.Value(name=name, const_value=ir.Tensor(array, name=name),
                       shape=ir.Shape(array.shape), type=ir.TensorType(kind))
              for name, array in (("w", weight), ("b", bias)) if array is not None]  # fmt: skip
    node = ir.node("Conv", [x, *stored], {
        "strides": layer["strides"], "pads": layer["pads"], "dilations": layer["dilations"],
        "group": layer["groups"], "kernel_shape": layer["kernel"],
    }, name="conv")  # fmt: skip
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(kind)
    node.outputs[0].shape = ir.Shape([batch, layer["filters"], *layer["grid"]])
    graph = ir.Graph([x, mask], [node.outputs[0]], nodes=[node], initializers=stored,
                     opset_imports={"": 20}, name="g")  # fmt: skip
    model = ir.Model(graph, ir_version=9)
    dense = read_convolution(node)
    assert isinstance(dense, Convolution)
    emitter = emitter_for(model, dense)
    install(model, emitter, node.outputs[0], focus(emitter, dense, mask), anchor=node)
    infer_shapes(model)
    top, left, bottom, right = layer["pads"]
    padded = F.pad(torch.from_numpy(images), (left, right, top, bottom))
    sums = F.conv2d(
        padded, torch.from_numpy(weight), None if bias is None else torch.from_numpy(bias),
        layer["strides"], 0, layer["dilations"], layer["groups"],
    )  # fmt: skip
    return model, {"x": images, "mask": masks}, (sums * torch.from_numpy(masks)).numpy()


def _in_form(model, form):
    """The network with its layer in a form."""
    copied = clone(model)
    node = next(node for node in copied.graph if node.op_type == "FocusedConv")
    layer = read(node)
    assert isinstance(layer, Convolution)
    assert form.refuses(layer, None) is None
    emitter = emitter_for(copied, layer)
    install(copied, emitter, node.outputs[0], form.emit(emitter, layer, None), anchor=node)
    infer_shapes(copied)
    return copied


def _error(model, inputs, expected, dtype):
    """Largest difference over the largest value; of double precision by torch."""
    if dtype == np.float32:
        (found,) = get("onnxruntime").prepare(model).run(inputs).values()
    else:
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        found = evaluate(model, tensors)["y"].numpy()
    assert found.shape == expected.shape
    return np.abs(found - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-3)


@given(layers())
def test_definition_and_forms_are_the_convolution_times_its_mask(layer):
    for dtype, allowed in ((np.float64, 1e-12), (np.float32, 1e-5)):
        model, inputs, expected = _focused(layer, dtype)
        assert _error(model, inputs, expected, dtype) <= allowed
        for form in FORMS:
            assert _error(_in_form(model, form), inputs, expected, dtype) <= allowed, form.name


LAYER = {
    "groups": 1, "kernel": (3, 3), "strides": (2, 2), "dilations": (1, 1), "size": (9, 8),
    "pads": (1, 1, 1, 1), "grid": (5, 4), "channels": 3, "filters": 4, "bias": True, "batch": 2,
    "kept": 0.5, "seed": 3,
}  # fmt: skip


class _NoBias(Gathered):
    def emit(self, emitter, convolution, pooling):
        return super().emit(emitter, replace(convolution, bias=None), pooling)


class _OtherImage(Gathered):
    """Takes the masks of a batch in the other order."""

    def emit(self, emitter, convolution, pooling):
        mask = convolution.node.inputs[1]
        order = emitter.integers([1, 0], "order")
        convolution.node.replace_input_with(1, emitter.op("Gather", [mask, order], axis=0))
        return super().emit(emitter, convolution, pooling)


class _NoStride(Gathered):
    """Reads its patches as if the stride were 1."""

    def emit(self, emitter, convolution, pooling):
        result = super().emit(emitter, convolution, pooling)
        starts = next(value for value in emitter.weights if "starts" in value.name)
        height, width = LAYER["grid"]
        rows = np.add.outer(np.arange(height) * (LAYER["size"][1] + 2), np.arange(width))
        starts.const_value = ir.Tensor(rows.reshape(-1).astype(np.int64), name=starts.name)
        return result


class _ZeroEdge(Rectangle):
    """Has zeros at the edge of its box in place of the neighbours."""

    def emit(self, emitter, convolution, pooling):
        result = super().emit(emitter, convolution, pooling)
        cut = next(n for n in emitter.nodes if n.op_type == "Conv")
        inner, ints = cut.inputs[0], emitter.integers
        whole = emitter.op("Slice", [inner, ints([1, 1], "a"), ints([-1, -1], "b"),
                                     ints([2, 3], "c")])  # fmt: skip
        edge = emitter.op("Pad", [whole, ints([0, 0, 1, 1, 0, 0, 1, 1], "d")])
        cut.replace_input_with(0, edge)
        made = emitter.nodes[-2:]
        del emitter.nodes[-2:]
        place = emitter.nodes.index(cut)
        emitter.nodes[place:place] = made
        return result


@pytest.mark.parametrize("wrong", [_NoBias, _OtherImage, _NoStride, _ZeroEdge])
def test_a_wrong_form_is_caught(wrong):
    for dtype, allowed in ((np.float64, 1e-12), (np.float32, 1e-5)):
        model, inputs, expected = _focused(LAYER, dtype)
        right = wrong.__bases__[0]()
        if wrong is _ZeroEdge:  # a box inside of the grid, so that the layer's own zeros are not
            inputs["mask"][:] = False
            inputs["mask"][:, :, 1:3, 1:3] = True
            expected = _focused({**LAYER, "kept": 1.0}, dtype)[2] * inputs["mask"]
        assert _error(_in_form(model, right), inputs, expected, dtype) <= allowed
        assert _error(_in_form(model, wrong()), inputs, expected, dtype) > 1e-2


def test_what_a_form_computes():
    masks = np.zeros((3, 1, 4, 5), bool)
    masks[0, 0, 1, 1] = masks[0, 0, 2, 3] = True
    masks[1] = True
    assert computed("gather", masks).tolist() == [0.1, 1.0, 0.0]
    assert computed("focused", masks).tolist() == [0.1, 1.0, 0.0]
    assert computed("rect", masks).tolist() == [0.3, 1.0, 1.0]
    assert computed("mask", masks).tolist() == [1.0, 1.0, 1.0]


def _by_rule(rule, mask, layer, striding=Striding.ANY):
    """What a rule makes of a mask, run."""
    emitter = Emitter(20, np.dtype(np.float32), "m")
    source = ir.Value(
        name="x", shape=ir.Shape(["n", 1, *mask.shape[2:]]),
        type=ir.TensorType(ir.DataType.FLOAT),
    )  # fmt: skip
    result = getattr(Masks(emitter, striding), rule)(source, layer)
    if result is source:
        return mask
    for node in emitter.nodes:
        node.outputs[0].name = node.name
    result.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([source], [result], nodes=emitter.nodes, initializers=emitter.weights,
                     opset_imports={"": 20}, name="g")  # fmt: skip
    session = get("onnxruntime").prepare(ir.Model(graph, ir_version=9))
    (found,) = session.run({"x": mask.astype(np.float32)}).values()
    return found.astype(bool)


@given(layers())
def test_rules_by_brute_force(layer):
    rng = np.random.default_rng(layer["seed"])
    windows = Windowed(layer["size"], layer["grid"], layer["kernel"], layer["strides"],
                       layer["dilations"], layer["pads"][:2])  # fmt: skip
    before = rng.uniform(size=(2, 1, *layer["size"])) < layer["kept"]
    behind = rng.uniform(size=(2, 1, *layer["grid"])) < layer["kept"]
    patch, read_ = np.zeros_like(behind), np.zeros_like(before)
    same, count = np.zeros_like(behind), np.zeros(behind.shape, int)
    for p, q in np.ndindex(*layer["grid"]):
        for place in _taps(layer, (p, q), layer["kernel"], layer["dilations"], (0, 0)):
            patch[:, :, p, q] |= before[:, :, *place]
            read_[:, :, *place] |= behind[:, :, p, q]
        middle = tuple((e - 1) // 2 for e in windows.extents)
        for place in _taps(layer, (p, q), layer["strides"], (1, 1), middle):
            same[:, :, p, q] |= before[:, :, *place]
            count[:, :, p, q] += before[:, :, *place]
    np.testing.assert_array_equal(_by_rule("patch", before, windows), patch)
    np.testing.assert_array_equal(_by_rule("read_by", behind, windows), read_)
    np.testing.assert_array_equal(_by_rule("same", before, windows), same)
    most = 2 * count >= layer["strides"][0] * layer["strides"][1]
    if layer["strides"] != (1, 1):
        most |= ~most.any((1, 2, 3), keepdims=True)
        found = _by_rule("same", before, windows, Striding.MAJORITY)
        np.testing.assert_array_equal(found, most)


def _taps(layer, output, kernel, dilations, shift):
    """The places inside the input that a window covers."""
    corner = [
        o * s - p + by
        for o, s, p, by in zip(output, layer["strides"], layer["pads"][:2], shift, strict=True)
    ]
    for r, t in np.ndindex(*kernel):
        row, column = corner[0] + r * dilations[0], corner[1] + t * dilations[1]
        if 0 <= row < layer["size"][0] and 0 <= column < layer["size"][1]:
            yield row, column


def _around(layer, make):
    """The dense layer, and the focused one with what ``make`` says of the rest; images, masks."""
    model, inputs, _ = _focused(layer, np.float64)
    node = next(node for node in model.graph if node.op_type == "FocusedConv")
    found = read(node)
    assert isinstance(found, Convolution)
    weights = [torch.from_numpy(v.const_value.numpy()) for v in node.inputs[2:] if v is not None]
    top, left, bottom, right = layer["pads"]

    def dense(images):
        padded = F.pad(torch.from_numpy(images), (left, right, top, bottom))
        bias = weights[1] if len(weights) > 1 else None
        return F.conv2d(
            padded, weights[0], bias, layer["strides"], 0, layer["dilations"], layer["groups"]
        ).numpy()

    outside = make(dense)
    plain = replace(found, node=ir.node("Conv", [node.inputs[0], *node.inputs[2:]]))
    emitter = emitter_for(model, plain)
    instead = outside.before(emitter, plain)
    result = outside.behind(emitter, focus(emitter, plain, node.inputs[1], instead))
    install(model, emitter, node.outputs[0], result, anchor=node)
    infer_shapes(model)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    return model, tensors, dense


@given(layers())
def test_the_rest_is_a_vector_and_what_is_kept_the_layer(layer):
    value = np.random.default_rng(1).normal(size=(1, layer["filters"], 1, 1))
    model, tensors, dense = _around(layer, lambda _: Outside(value))
    found = evaluate(model, tensors)["y"].numpy()
    expected = np.where(tensors["mask"].numpy(), dense(tensors["x"].numpy()), value)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(layers())
def test_what_reads_nothing_but_the_reference_is_what_the_layer_gives_there(layer):
    """Wherever a window reads the reference alone, its pads included, masked or not."""
    rng = np.random.default_rng(layer["seed"])
    known = rng.normal(size=(1, layer["channels"], *layer["size"]))
    model, tensors, dense = _around(layer, lambda dense: Outside(dense(known), known))
    apart = rng.uniform(size=(layer["batch"], 1, *layer["size"])) < 0.3
    images = np.where(apart, tensors["x"].numpy(), known)
    ones = torch.ones(1, 1, *layer["kernel"], dtype=torch.float64)
    top, left, bottom, right = layer["pads"]
    padded = F.pad(torch.from_numpy(apart.astype(np.float64)), (left, right, top, bottom))
    touched = F.conv2d(padded, ones, None, layer["strides"], 0, layer["dilations"]).numpy() > 0
    tensors |= {"x": torch.from_numpy(images), "mask": torch.from_numpy(touched)}
    found = evaluate(model, tensors)["y"].numpy()
    np.testing.assert_allclose(found, dense(images), rtol=1e-10, atol=1e-10)


def test_a_rest_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        Outside(np.zeros(3))
    with pytest.raises(ValueError, match="a value for each position"):
        Outside(np.zeros((1, 3, 2, 2)))
