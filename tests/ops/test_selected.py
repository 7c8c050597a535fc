"""Selected convolutions: forms equal the definition, and deliberately wrong ones do not."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from mlcnn.engines import get
from mlcnn.graph import clone, infer_shapes, inline
from mlcnn.ops import Emitter, find_form, method_of
from mlcnn.ops.geometry import Convolution, read_convolution
from mlcnn.ops.selected import SELECTED, read, select
from mlcnn.ops.selected.forms import Gathered, Masked
from mlcnn.passes.rewriting import emitter_for, install

TYPES = ((np.float64, 1e-12), (np.float32, 1e-5))


@st.composite
def layers(draw):
    """A convolution's attributes, sizes and masks; its output has at least one place."""
    batch = draw(st.sampled_from([1, 1, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2]))
    kernel, strides, dilations, size = (
        tuple(draw(st.tuples(values, values)))
        for values in (st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 9))
    )
    pads = tuple(draw(st.tuples(*[st.integers(0, 2)] * 4)))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    assume(all(size[i] + pads[i] + pads[i + 2] >= extents[i] for i in (0, 1)))
    shares = st.sampled_from([0.0, 0.3, 0.7, 1.0])
    return {
        "groups": groups, "kernel": kernel, "strides": strides, "dilations": dilations,
        "size": size, "pads": pads, "batch": batch,
        "channels": groups * draw(st.integers(1, 4)), "filters": groups * draw(st.integers(1, 4)),
        "bias": draw(st.booleans()), "outs": draw(shares), "ins": draw(shares),
        "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


def _right(layer, images, masks, arrays):
    """By torch, channels of zeros in place of those that are left out."""
    top, left, bottom, right = layer["pads"]
    outs, ins = masks
    weight, bias = arrays["w"], arrays.get("b")
    kept = torch.from_numpy(images * ins[:, :, None, None])
    sums = F.conv2d(
        F.pad(kept, (left, right, top, bottom)), torch.from_numpy(weight),
        None if bias is None else torch.from_numpy(bias),
        layer["strides"], 0, layer["dilations"], layer["groups"],
    )  # fmt: skip
    return sums.numpy() * outs[:, :, None, None]


def _value(name, shape, kind):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(kind))


def _selected(layer, dtype):
    """A network of one selected layer; images and masks, and what is right by torch."""
    rng = np.random.default_rng(layer["seed"])
    batch, channels, filters = layer["batch"], layer["channels"], layer["filters"]
    weight = rng.normal(size=(filters, channels // layer["groups"], *layer["kernel"]))
    arrays = {"w": weight.astype(dtype)}
    if layer["bias"]:
        arrays["b"] = rng.normal(size=filters).astype(dtype)
    images = rng.normal(size=(batch, channels, *layer["size"])).astype(dtype)
    outs = rng.uniform(size=(batch, filters)) < layer["outs"]
    ins = rng.uniform(size=(batch, channels)) < layer["ins"]
    expected = _right(layer, images, (outs, ins), arrays)
    kind = ir.DataType.from_numpy(np.dtype(dtype))
    x = _value("x", images.shape, kind)
    masks = [
        _value("outs", outs.shape, ir.DataType.BOOL),
        _value("ins", ins.shape, ir.DataType.BOOL),
    ]
    stored = [_value(name, array.shape, kind) for name, array in arrays.items()]
    for value, array in zip(stored, arrays.values(), strict=True):
        value.const_value = ir.Tensor(array, name=value.name)
    node = ir.node("Conv", [x, *stored], {
        "strides": layer["strides"], "pads": layer["pads"], "dilations": layer["dilations"],
        "group": layer["groups"], "kernel_shape": layer["kernel"],
    }, name="conv")  # fmt: skip
    (y,) = node.outputs
    y.name, y.type, y.shape = "y", ir.TensorType(kind), ir.Shape(expected.shape)
    graph = ir.Graph([x, *masks], [y], nodes=[node], initializers=stored, opset_imports={"": 20},
                     name="g")  # fmt: skip
    model = ir.Model(graph, ir_version=9)
    dense = read_convolution(node)
    assert isinstance(dense, Convolution)
    emitter = emitter_for(model, dense)
    install(model, emitter, y, select(emitter, dense, *masks), anchor=node)
    infer_shapes(model)
    return model, {"x": images, "outs": outs, "ins": ins}, expected


def _layer_of(model):
    node = next(node for node in model.graph if node.op_type == "SelectedConv")
    layer = read(node)
    assert isinstance(layer, Convolution)
    return layer


def _in_form(model, form):
    """The network with its layer in a form."""
    copied = clone(model)
    layer = _layer_of(copied)
    assert form.refuses(layer, None) is None
    emitter, node = emitter_for(copied, layer), layer.node
    install(copied, emitter, node.outputs[0], form.emit(emitter, layer, None), anchor=node)
    infer_shapes(copied)
    return copied


def _error(model, inputs, expected, dtype):
    """Largest difference over the largest value; of double precision by ONNX's own kernels."""
    if dtype == np.float32:
        (found,) = get("onnxruntime").prepare(model).run(inputs).values()
    else:
        (found,) = ReferenceEvaluator(ir.to_proto(inline(model))).run(None, inputs)
    assert found.shape == expected.shape
    return np.abs(found - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-3)


@given(layers())
def test_definition_and_forms_are_the_convolution_of_what_the_masks_keep(layer):
    for dtype, allowed in TYPES:
        model, inputs, expected = _selected(layer, dtype)
        assert _error(model, inputs, expected, dtype) <= allowed
        for form in SELECTED.forms:
            if isinstance(form, Gathered) and (layer["groups"], layer["batch"]) != (1, 1):
                assert form.refuses(_layer_of(model), None)
                continue
            assert _error(_in_form(model, form), inputs, expected, dtype) <= allowed, form.name


LAYER = {
    "groups": 1, "kernel": (3, 3), "strides": (2, 2), "dilations": (1, 1), "size": (9, 8),
    "pads": (1, 1, 1, 1), "channels": 5, "filters": 6, "bias": True, "batch": 1, "outs": 0.5,
    "ins": 0.6, "seed": 3,
}  # fmt: skip


@pytest.mark.parametrize("ins", [0.0, 1.0])
@pytest.mark.parametrize("outs", [0.0, 1.0])
def test_of_no_channel_and_of_all(outs, ins):
    for dtype, allowed in TYPES:
        model, inputs, expected = _selected({**LAYER, "outs": outs, "ins": ins}, dtype)
        for form in SELECTED.forms:
            assert _error(_in_form(model, form), inputs, expected, dtype) <= allowed, form.name


def test_what_is_left_out_may_be_infinite():
    """It is not multiplied by zero: it is not there."""
    model, inputs, expected = _selected(LAYER, np.float32)
    inputs["x"][~inputs["ins"]] = np.inf
    for form in SELECTED.forms:
        assert _error(_in_form(model, form), inputs, expected, np.float32) <= 1e-5


class _NoBias(Gathered):
    def emit(self, emitter, convolution, pooling):
        return super().emit(emitter, replace(convolution, bias=None), pooling)


class _OtherOrder(Gathered):
    """Takes the weights' inputs in the other order."""

    def emit(self, emitter, convolution, pooling):
        result = super().emit(emitter, convolution, pooling)
        weight = next(n for n in emitter.nodes if n.op_type == "Conv").inputs[1]
        gather = weight.producer()
        index = gather.inputs[1]
        bounds = [emitter.integers([value], "back") for value in (-1, -99, 0, -1)]
        back = emitter.op("Slice", [index, *bounds])
        emitter.nodes.insert(emitter.nodes.index(gather), emitter.nodes.pop())
        gather.replace_input_with(1, back)
        return result


class _AllInputs(Gathered):
    """Reads channels that are left out."""

    def emit(self, emitter, convolution, pooling):
        result = super().emit(emitter, convolution, pooling)
        where = next(node for node in emitter.nodes if node.op_type == "Or")
        ones = emitter.op("Equal", [where.inputs[0], where.inputs[0]])
        emitter.nodes.insert(0, emitter.nodes.pop())
        where.replace_input_with(1, ones)
        gate = next(node for node in emitter.nodes if node.op_type == "Where")
        gate.replace_input_with(0, emitter.op("Equal", [gate.inputs[0], gate.inputs[0]]))
        made = emitter.nodes.pop()
        emitter.nodes.insert(emitter.nodes.index(gate), made)
        return result


class _Shifted(Gathered):
    """Puts the channels back side by side, not in their places."""

    kept = 0

    def emit(self, emitter, convolution, pooling):
        result = super().emit(emitter, convolution, pooling)
        put = next(node for node in emitter.nodes if node.op_type == "ScatterND")
        first = emitter.integers(range(self.kept), "first")
        put.inputs[1].producer().replace_input_with(0, first)
        return result


class _InFront(Masked):
    """Zeroes outputs in front of the bias."""

    def emit(self, emitter, convolution, pooling):
        sums = super().emit(emitter, replace(convolution, bias=None), pooling)
        column = emitter.integers([1, -1, 1, 1], "column")
        return emitter.op("Add", [sums, emitter.op("Reshape", [convolution.bias, column])])


@pytest.mark.parametrize("wrong", [_NoBias, _OtherOrder, _AllInputs, _Shifted, _InFront])
def test_a_wrong_form_is_caught(wrong):
    for dtype, allowed in TYPES:
        model, inputs, expected = _selected(LAYER, dtype)
        _Shifted.kept = int(inputs["outs"].sum())
        assert _error(_in_form(model, wrong.__bases__[0]()), inputs, expected, dtype) <= allowed
        assert _error(_in_form(model, wrong()), inputs, expected, dtype) > 1e-2


def test_the_method_is_known_and_its_operator_read():
    model, _, _ = _selected(LAYER, np.float32)
    layer = _layer_of(model)
    assert method_of(layer.node) is SELECTED
    assert [find_form(form.name) for form in SELECTED.forms] == [*SELECTED.forms]
    assert (layer.channels, layer.filters, layer.strides) == (5, 6, (2, 2))
    assert isinstance(emitter_for(model, layer), Emitter)


def test_of_a_batch_weights_are_not_gathered():
    model, _, _ = _selected({**LAYER, "batch": 2}, np.float32)
    assert "batch 1 only, here 2" in (Gathered().refuses(_layer_of(model), None) or "")
