"""Kernels as sums of a few shared ones: the pass, its operator, forms, files, folding, removal."""

import functools
import re
from math import prod

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.builder import Net

import mlcnn
from mlcnn import engines, graph, nn, workload
from mlcnn.counting import executed_operations, nonzero_multiplications
from mlcnn.errors import InputError
from mlcnn.graph import constant
from mlcnn.ops.shared_kernels import decomposed, dense_weight, energies, structure
from mlcnn.passes import RemoveChannels, ShareKernels, pipeline, restore
from mlcnn.workload import Layer

FORMS = ("two-stage", "split", "rebuilt")


def _run(model: ir.Model, seed: int = 0) -> np.ndarray:
    (value,) = model.graph.inputs
    shape = [size if isinstance(size, int) else 2 for size in value.shape]
    inputs = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    (output,) = engines.get("onnxruntime").prepare(model).run({value.name: inputs}).values()
    return output


def _assert_same(model: ir.Model, other: ir.Model, tolerance: float = 1e-5) -> None:
    expected, found = _run(model), _run(other)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def _layer(kernel: int | tuple[int, int] = 3, groups: int = 1, **attributes: object) -> ir.Model:
    net = Net(2, 4, 12, 11)
    inner = net.conv(net.x, 6, kernel, channels=4, name="a", group=groups, **attributes)
    return net.model(net.op("Relu", net.norm(inner, 6)))


def _shared(model: ir.Model, text: str) -> ir.Model:
    result = pipeline.run(model, pipeline.parse(text), verify=True)
    assert not any(stage.failed for stage in result.stages)
    return result.model


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@given(sizes=st.tuples(*[st.integers(1, 4)] * 4), seed=st.integers(0, 99), data=st.data())
def test_the_decomposition_is_the_nearest(sizes, seed, data):
    filters, channels, rows, columns = sizes
    weight = np.random.default_rng(seed).standard_normal(sizes)
    basis = data.draw(st.integers(1, rows * columns))
    kernels, coefficients = decomposed(weight, basis)
    assert (kernels.shape, coefficients.shape) == (
        (basis, rows, columns), (filters, channels, basis),
    )  # fmt: skip
    flat = kernels.reshape(basis, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(basis), atol=1e-12)
    left = float(((dense_weight(kernels, coefficients) - weight) ** 2).sum())
    values = np.linalg.svd(weight.reshape(-1, rows * columns), compute_uv=False) ** 2
    assert left == pytest.approx(values[basis:].sum(), abs=1e-10)
    kept = energies(weight)
    expected = 1 - left / (weight**2).sum()
    assert kept[min(basis, len(kept)) - 1] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 1], "pads": [0, 1, 2, 1]},
        {"dilations": [2, 1], "pads": [2, 0, 2, 1]},
        {"kernel": (1, 5), "pads": [0, 2, 0, 2]},
        {"groups": 2},
    ],
)
def test_all_directions_are_exact_in_every_form(form, attributes):
    model = _layer(**attributes)
    taps = prod(attributes.get("kernel", (3, 3)))
    forms = f",choose{{form={form}}}" if form else ""
    shared = _shared(model, f"share-kernels{{basis={taps}}}{forms}")
    _assert_same(model, shared, 1e-6)
    # Of groups, the maps of single kernels would not lie side by side.
    refused = form == "split" and "groups" in attributes
    assert ("SharedKernelConv" in _operators(shared)) == (form is None or refused)


def test_forms_agree_where_directions_are_missing():
    model = _shared(_layer(), "share-kernels{basis=4},fold-batch-norm")
    for form in FORMS:
        _assert_same(model, _shared(model, f"choose{{form={form}}}"))


def test_a_batch_norm_becomes_rows_of_the_coefficients():
    model = _shared(_layer(bias=False), "share-kernels{basis=3}")
    folded = _shared(model, "fold-batch-norm")
    assert _operators(folded) == ["SharedKernelConv", "Relu"]
    _assert_same(model, folded)


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize("basis", [2, 9])
def test_a_saved_layer_is_recognised(form, basis, tmp_path):
    forms = f",choose{{form={form}}}" if form else ""
    model = _shared(_layer(), f"share-kernels{{basis={basis}}},fold-batch-norm{forms}")
    graph.save(model, tmp_path / "shared.onnx")
    loaded = mlcnn.load(tmp_path / "shared.onnx")
    _assert_same(model, loaded)
    (layer,) = workload.read(loaded).layers
    assert str(layer.weights) == f"shared-kernels(basis={basis})"
    restored = restore(loaded, lowered=True)
    assert _operators(restored) == ["SharedKernelConv", "Relu"]
    _assert_same(model, restored)


def test_channels_swapped_between_the_stages_are_caught():
    """The authors' own two stages lie in another order than their coefficients."""
    model = _shared(_layer(), "share-kernels{basis=3},fold-batch-norm")
    other = graph.clone(model)
    value = other.graph.initializers["a.weight"]
    array = constant(value)
    swapped = array.transpose(0, 2, 1).reshape(array.shape)
    value.const_value = ir.Tensor(np.ascontiguousarray(swapped), name=value.name)
    expected = _run(model)
    assert np.abs(_run(other) - expected).max() > 0.1 * np.abs(expected).max()


def test_what_is_trained_is_what_is_stored():
    model = _shared(_layer(), "share-kernels{basis=3}")
    module = nn.to_module(model).eval()
    names = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert {(3, 3, 3), (6, 4, 3), (6,)} <= set(names.values())
    inputs = torch.randn(2, 4, 12, 11, generator=torch.Generator().manual_seed(0))
    expected = engines.get("onnxruntime").prepare(model).run({"x": inputs.numpy()})
    found = module(inputs)
    found.sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    (array,) = expected.values()
    np.testing.assert_allclose(found.detach().numpy(), array, atol=1e-5)


def test_counts_are_those_of_the_stages():
    """P Q (C d R S + K C d), as the authors' profiler; the dense one where it is rebuilt."""
    model = _shared(_layer(pads=[1] * 4), "share-kernels{basis=5},fold-batch-norm")
    outputs = 2 * 12 * 11
    expected = {None: outputs * (4 * 5 * 9 + 6 * 4 * 5), "rebuilt": outputs * 6 * 4 * 9}
    expected |= dict.fromkeys(("two-stage", "split"), expected[None])
    for form, count in expected.items():
        lowered = model if form is None else _shared(model, f"choose{{form={form}}}")
        (layer,) = workload.read(lowered).layers
        assert executed_operations(layer).multiplications == count, form
        assert sum(part.macs for part in layer.parts) == count, form


@pytest.mark.parametrize("form", [None, *FORMS])
def test_zeros_are_counted_by_hand(form):
    """Every product of a weight that is not zero, one by one, as the authors' profiler does."""
    model = _shared(_layer(pads=[1] * 4), "share-kernels{basis=5},fold-batch-norm")
    value = model.graph.initializers["a.weight"]
    array = value.const_value.numpy().copy()
    array[np.random.default_rng(0).random(array.shape) < 0.7] = 0
    value.const_value = ir.Tensor(array, name=value.name)
    model = model if form is None else _shared(model, f"choose{{form={form}}}")
    (layer,) = workload.read(model).layers
    left = sum(number != 0 for number in array.ravel())
    assert layer.density == pytest.approx(left / array.size)
    assert nonzero_multiplications(layer) == 2 * 12 * 11 * (4 * 5 * 9 + left)


def _walked(nest, image, kernels):
    """A convolution product by product; with all products, and with those of non-zero weights."""
    top, left, bottom, right = nest.pads
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)))
    output, done, without = np.zeros((nest.K, nest.P, nest.Q)), 0, 0
    for k, p, q in np.ndindex(output.shape):
        first = k // (nest.K // nest.G) * (nest.C // nest.G)
        for c, r, s in np.ndindex(kernels.shape[1:]):
            output[k, p, q] += kernels[k, c, r, s] * padded[first + c, p + r, q + s]
            done += 1
            without += kernels[k, c, r, s] != 0
    return output, done, without


@pytest.mark.parametrize("form", ["two-stage", "rebuilt"])
def test_counts_are_those_of_an_instrumented_run(form):
    """The stages product by product give what the network gives, and take what is counted."""
    net = Net(1, 4, 6, 5)
    inner = net.conv(net.x, 3, channels=4, name="a", pads=[1] * 4)
    model = _shared(net.model(inner), "share-kernels{basis=2}")
    coefficients = model.graph.initializers["a.weight"]
    weight = coefficients.const_value.numpy().copy()
    weight[:, :1, 1] = 0
    coefficients.const_value = ir.Tensor(weight, name=coefficients.name)
    node = next(node for node in model.graph if node.domain)
    basis, bias = constant(node.inputs[1]), constant(node.inputs[3])
    lowered = _shared(model, f"choose{{form={form}}}")
    (layer,) = workload.read(lowered).layers
    if form == "two-stage":
        stages = [np.tile(basis[:, None], (4, 1, 1, 1)), weight.reshape(3, -1, 1, 1)]
    else:
        stages = [dense_weight(basis, weight)]
    # The same values as _run takes.
    image = np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype(np.float32)[0]
    done = without = 0
    for nest, kernels in zip(layer.parts, stages, strict=True):
        image, executed, kept = _walked(nest, image, kernels)
        done, without = done + executed, without + kept
    image = image if bias is None else image + bias[:, None, None]
    np.testing.assert_allclose(_run(lowered)[0], image, rtol=0, atol=1e-5)
    assert executed_operations(layer).multiplications == done
    if form == "two-stage":
        assert nonzero_multiplications(layer) == without == done - 3 * 6 * 5


@functools.cache
def _resnet56() -> list[workload.ConvLayer]:
    return [nest for nest in workload.layers(mlcnn.load("resnet56")) if nest.kernel_area > 1]


@pytest.mark.parametrize(
    ("basis", "density", "parameters", "multiplications"),
    # ResNet-56, by the accounting of the authors' profiler, in percent of the dense convolutions.
    [(2, 0.3, 6.8, 14.0), (5, 1, 55.9, 74.0), (5, 0.3, 17.0, 35.1), (5, 0.1, 5.9, 24.0),
     (5, 0.05, 3.1, 21.2)],
)  # fmt: skip
def test_resnet56_by_the_authors_accounting(basis, density, parameters, multiplications):
    nests = _resnet56()
    layers = [Layer(nest, weights=structure(basis), density=density) for nest in nests]
    counted = sum(nonzero_multiplications(layer) for layer in layers)
    assert 100 * counted / sum(n.macs for n in nests) == pytest.approx(multiplications, abs=0.06)
    kept = sum(density * basis * nest.K * nest.C + basis * 9 for nest in nests)
    assert 100 * kept / sum(n.weights for n in nests) == pytest.approx(parameters, abs=0.06)


def test_zeros_of_a_plain_layer_are_counted():
    net = Net(2, 4, 8, 8)
    model = net.model(net.conv(net.x, 6, channels=4, name="a"))
    value = model.graph.initializers["a.weight"]
    array = value.const_value.numpy().copy()
    array[:, ::2] = 0
    value.const_value = ir.Tensor(array, name=value.name)
    (layer,) = workload.read(model).layers
    assert (layer.density, nonzero_multiplications(layer)) == (0.5, 2 * 64 * 6 * 2 * 9)
    assert executed_operations(layer).multiplications == 2 * 64 * 6 * 4 * 9


def test_basis_on_box_sums():
    """A pool in front of the basis: its convolutions run on the pooled positions only."""
    net = Net(2, 4, 12, 12)
    model = net.model(net.pool(net.conv(net.x, 6, channels=4, name="a")))
    shared = _shared(model, "share-kernels{basis=9},fuse{form=box}")
    _assert_same(model, shared)
    assert "SharedKernelConv" in _operators(shared)


@pytest.mark.parametrize("pads", [0, 1])
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=15, deadline=None)
def test_channels_and_basis_kernels_without_coefficients_go(pads, seed, share):
    net = Net(2, 3, 9, 9)
    first = net.op("Relu", net.norm(net.conv(net.x, 6, channels=3, name="a", bias=False), 6))
    second = net.op("Relu", net.conv(first, 8, channels=6, name="b", pads=[pads] * 4))
    model = net.model(net.conv(second, 4, channels=8, name="c", pads=[0] * 4))
    model = pipeline.run(model, [ShareKernels("5+a=4")]).model
    generator = np.random.default_rng(seed)
    for name in "abc":
        value = model.graph.initializers[f"{name}.weight"]
        array = value.const_value.numpy().copy()
        for axis in range(3):
            np.moveaxis(array, axis, 0)[generator.random(array.shape[axis]) < share / 2] = 0
        value.const_value = ir.Tensor(array, name=value.name)
    result = pipeline.run(model, [RemoveChannels()], verify=True)
    assert not result.stages[0].failed
    _assert_same(model, result.model, 2e-5)
    for layer in workload.read(result.model).layers:
        ((_, count),) = layer.weights.options
        lasting = constant(result.model.graph.initializers[f"{layer.name}.weight"])
        assert lasting.shape == (layer.nest.K, layer.nest.C, count)
    again = RemoveChannels().apply(result.model)
    assert not again.changes  # a fixpoint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0",
            "'0': a positive integer is required, as in basis=5 or basis=5+layer1.0.conv1=4",
        ),
        ("10", "10: the kernels of a have 3x3 taps: 1 to 9 can be shared"),
        ("5+a=12", "a=12: the kernels of a have 3x3 taps: 1 to 9 can be shared"),
        ("5+aa=3", "aa=...: there is no such layer; did you mean 'a'?"),
    ],
)
def test_bad_numbers(text, message):
    with pytest.raises(InputError) as error:
        pipeline.run(_layer(), pipeline.parse(f"share-kernels{{basis={text}}}"))
    assert re.sub(r"share-kernels: basis[ =]", "", str(error.value)) == message


def test_nothing_to_share():
    with pytest.raises(InputError, match="nothing to share in this network: its convolutions are"):
        ShareKernels().apply(_layer(1))


def test_layers_that_stay():
    net = Net(2, 4, 8, 8)
    weight = net.weight("w.weight", 4, 4, 3, 3)
    first, second = (
        net.conv(net.x, 4, channels=4, name=name, weight=weight, bias=False) for name in "ab"
    )
    deep = net.conv(net.op("Add", first, second), 4, channels=4, group=4, name="d")
    point = net.conv(deep, 4, 1, channels=4, name="p")
    fed = net.input("fed", 4, 4, 3, 3)
    last = net.op("Conv", net.conv(point, 4, channels=4, name="s"), fed, pads=[1] * 4, name="f")
    result = ShareKernels("4").apply(net.model(last))
    assert [change.nodes for change in result.changes] == [("s",)]
    reasons = [skipped.reason for skipped in result.skipped]
    assert reasons == [
        "its weight is also that of w",
        "its weight is also that of w",
        "it is depthwise: the basis alone would cost as much",
        "its kernels are 1x1: nothing to share",
        "the weight is not a constant",
    ]


def test_fewer_directions_may_follow():
    model = _shared(_layer(), "share-kernels{basis=7}")
    (skipped,) = ShareKernels("8").apply(model).skipped
    assert skipped.reason == "it has 7 basis kernels already"
    again = ShareKernels("3").apply(model).model
    _assert_same(_shared(_layer(), "share-kernels{basis=3}"), again)
