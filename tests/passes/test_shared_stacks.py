"""Shared kernels with pools in front of them: exact, counted product by product, found again."""

import math

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.builder import Net
from passes.story import inputs_of, largest_difference

import mlcnn
from mlcnn import graph, workload
from mlcnn.counting import count, executed_operations, nonzero_multiplications
from mlcnn.graph import constant, evaluate
from mlcnn.passes import pipeline, restore

INNER = ("", "two-stage", "split", "rebuilt")


@st.composite
def networks(draw: st.DrawFn) -> ir.Model:
    """A convolution, a ReLU and an average pool of any geometry, float64."""
    groups, stride = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 2))
    kernel = draw(st.sampled_from([(3, 3), (1, 3), (2, 2)]))
    pads = [draw(st.integers(0, 1)) for _ in range(4)]
    net = Net(2, 4, 11, 12, dtype=np.float64, seed=draw(st.integers(0, 999)))
    value = net.conv(
        net.x, 6, kernel, channels=4, name="a", group=groups, strides=[stride] * 2, pads=pads,
        dilations=[draw(st.integers(1, 2)), 1],
    )  # fmt: skip
    value = net.op("Relu", value)
    if draw(st.booleans()):
        return net.model(net.op("GlobalAveragePool", value))
    pool = {
        "kernel_shape": [2, draw(st.integers(1, 3))],
        "strides": [draw(st.integers(1, 2)), 2],
        "pads": [0, draw(st.integers(0, 0)), 0, 0],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    return net.model(net.op("AveragePool", value, **pool))


def made(model: ir.Model, text: str) -> ir.Model:
    return pipeline.run(model, pipeline.parse(text)).model


def difference(expected: ir.Model, found: ir.Model, dtype: torch.dtype) -> float:
    """Relative to the largest output."""
    inputs = {name: torch.from_numpy(array) for name, array in inputs_of(expected).items()}
    first, second = (
        next(iter(evaluate(model, inputs, dtype=dtype).values())) for model in (expected, found)
    )
    return float((first - second).abs().max() / first.abs().max().clamp(min=1e-30))


@given(
    model=networks(),
    basis=st.integers(1, 3),
    form=st.sampled_from(["box", "box-depthwise"]),
    inner=st.sampled_from(INNER),
)
@settings(max_examples=40, deadline=None)
def test_the_pool_goes_in_front_of_the_bases_exactly(model, basis, form, inner):
    unfused = made(model, f"share-kernels{{basis={basis}}},reorder{{all=true}}")
    behind = f",choose{{form={inner}}}" if inner else ""
    fused = made(unfused, f"fuse{{form={form}}}{behind}")
    assert difference(unfused, fused, torch.float64) <= 1e-10
    assert difference(unfused, fused, torch.float32) <= 1e-5


def test_the_pool_in_front_is_that_of_the_network():
    """On box sums: the pool, then d C maps and the coefficients at the pooled positions alone."""
    net = Net(2, 4, 12, 12)
    value = net.op("Relu", net.norm(net.conv(net.x, 6, channels=4, name="a"), 6))
    model = net.model(net.pool(value))
    unfused = made(model, "share-kernels{basis=5},fold-batch-norm,reorder")
    fused = made(unfused, "fuse{form=box},choose{form=two-stage}")
    assert largest_difference(unfused, fused) <= 1e-5
    assert [node.op_type for node in fused.graph] == [
        "AveragePool", "SharedKernelTwoStage", "Relu",
    ]  # fmt: skip
    (layer,) = workload.read(fused).layers
    assert [part.outputs for part in layer.parts] == [36, 36]
    assert [part.K for part in layer.parts] == [20, 6]


def walked(model: ir.Model) -> tuple[int, int, int]:
    """Products, those by a weight that is not zero, and additions, one output after the other."""
    flat = graph.fold_constants(graph.inline(model), spread=True)
    graph.infer_shapes(flat)
    products = nonzero = additions = 0
    for node in flat.graph:
        if node.op_type not in {"Conv", "AveragePool"}:
            continue
        images, _, rows, columns = node.outputs[0].shape.dims
        if node.op_type == "AveragePool":
            inputs = math.prod(node.attributes["kernel_shape"].as_ints())
            channels = node.outputs[0].shape[1]
            additions += images * channels * rows * columns * (inputs - 1)
            continue
        for kernel in constant(node.inputs[1]):
            for _ in range(images * rows * columns):
                products += kernel.size
                nonzero += int(np.count_nonzero(kernel))
                additions += kernel.size - 1
    return products, nonzero, additions


@pytest.mark.parametrize("form", ["box", "box-depthwise"])
@pytest.mark.parametrize("inner", INNER)
def test_counts_are_those_of_a_walk(form, inner):
    net = Net(2, 4, 8, 8)
    model = net.model(net.pool(net.conv(net.x, 6, channels=4, name="a")))
    model = made(model, "share-kernels{basis=5}")
    value = model.graph.initializers["a.weight"]
    array = value.const_value.numpy().copy()
    array[np.random.default_rng(0).random(array.shape) < 0.7] = 0
    value.const_value = ir.Tensor(array, name=value.name)
    staged = made(model, f"fuse{{form={form}}},choose{{form=two-stage}}")
    behind = f",choose{{form={inner}}}" if inner else ""
    fused = made(model, f"fuse{{form={form}}}{behind}")
    (layer,) = workload.read(fused).layers
    products, _, additions = walked(fused)
    executed = executed_operations(layer)
    assert (executed.multiplications, executed.additions) == (products, additions)
    # Of both stages, whatever the form: the dense kernels have no zeros.
    assert nonzero_multiplications(layer) == walked(staged)[1]
    assert layer.nest.macs == 2 * 64 * 6 * 4 * 9
    (row,) = count(fused).layers
    assert row.fused
    assert row.before.multiplications == layer.nest.macs
    assert row.chosen.multiplications == products


@pytest.mark.parametrize("form", ["box", "box-depthwise"])
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("pool", ["AveragePool", "padded", "GlobalAveragePool", "ReduceMean"])
def test_a_saved_stack_is_found_again(form, inner, pool, tmp_path):
    net = Net(2, 4, 9, 9)
    value = net.conv(net.x, 6, channels=4, name="a")
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2]}
    if pool == "padded":
        value = net.op("AveragePool", value, **attributes, pads=[1] * 4)
    elif pool == "AveragePool":
        value = net.op("AveragePool", value, **attributes)
    elif pool == "GlobalAveragePool":
        value = net.op("GlobalAveragePool", value)
    else:
        value = net.op("ReduceMean", value, np.array([2, 3]), keepdims=0)
    behind = f",choose{{form={inner}}}" if inner else ""
    model = made(net.model(value), f"share-kernels{{basis=3}},fuse{{form={form}}}{behind}")
    graph.save(model, tmp_path / "stack.onnx")
    loaded = mlcnn.load(tmp_path / "stack.onnx")
    (layer,) = workload.read(loaded).layers
    assert (layer.form, str(layer.weights)) == (form, "shared-kernels(basis=3)")
    assert layer.pool is not None
    restored = restore(loaded, lowered=True)
    assert largest_difference(model, restored) <= 1e-5
    assert "SharedKernelConv" in [node.op_type for node in restored.graph]
    (again,) = workload.read(restored).layers
    assert (again.form, again.weights, again.nest) == (layer.form, layer.weights, layer.nest)
