"""Quantised networks keep their sites: fused equals unfused to a step, and weights stay codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.quantised import images, one_step, quantised, run, site_results
from passes.spoiling import Wrong, attributes, weights

import mlcnn
from mlcnn import counting, workload
from mlcnn.errors import MlcnnError
from mlcnn.graph import read_rounding
from mlcnn.passes import Change, DistributePool, FoldBatchNorm, Fuse, Reorder, pipeline
from mlcnn.passes.verification import check_site
from mlcnn.workload import Numbers

SHAPE = (1, 3, 16, 16)


def chain(order: str = "pool relu") -> ir.Model:
    """Two convolutions with a pool each, and a dense layer."""
    net = Net(*SHAPE)
    value, channels = net.x, 3
    for name, filters in (("first", 8), ("second", 6)):
        value = net.conv(value, filters, channels=channels, name=name)
        for step in order.split():
            value = (
                net.pool(value, name=f"{name}.pool") if step == "pool" else net.op("Relu", value)
            )
        channels = filters
    flat = net.op("Flatten", value)
    dense = net.op("Gemm", flat, net.weight("dense.weight", 10, 96), transB=1, name="dense")
    return net.model(dense)


def alone(kernel: int = 3, pool: str = "AveragePool") -> ir.Model:
    """One site."""
    net = Net(*SHAPE)
    value = net.conv(net.x, 8, kernel, channels=3)
    pooled = net.op(pool, value, name="pool") if pool.startswith("Global") else net.pool(value)
    return net.model(pooled)


def fused(model: ir.Model, passes: str = "exact", **options: object) -> pipeline.PipelineResult:
    configured = pipeline.configure(pipeline.parse(passes), **options)
    return pipeline.run(model, configured, verify=True)


def assert_one_step(before: ir.Model, after: ir.Model, changes: tuple[Change, ...]) -> None:
    """Site by site, on images that the quantisers were calibrated on: nothing is cut off there."""
    given = before.graph.inputs[0]
    name, shape = given.name, tuple(s if isinstance(s, int) else 1 for s in given.shape)
    sources = [source for change in changes for source in change.inputs]
    for image in images(shape, 3):
        values = run(before, {name: image}, *sources)
        for change in changes:
            expected, actual = site_results(before, after, change, values)
            assert float(np.ptp(expected)) > 20 * one_step(before, change)
            worst = np.abs(actual - expected).max()
            assert worst <= one_step(before, change) * (1 + 1e-5), change.nodes[0]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", ["QInt8", "QUInt8"])
def test_sites_are_kept_to_one_step(tmp_path: Path, activation: str, per_channel: bool) -> None:
    before = quantised(chain(), activation=activation, per_channel=per_channel)
    result = fused(before, form="box")
    assert [change.nodes[0] for change in result.changes] == ["first", "second"]
    assert all("half a step" in c.reason and "in float" in c.reason for c in result.changes)
    optimized = mlcnn.optimize(before, form="box")
    assert [change.nodes[0] for change in optimized.fused] == ["first", "second"]
    optimized.save(tmp_path / "fused.onnx")
    after = mlcnn.load(tmp_path / "fused.onnx")
    assert_one_step(before, after, optimized.fused)
    codes = [v for v in after.graph.initializers.values() if v.name.endswith("weight_quantized")]
    assert [value.dtype for value in codes] == [ir.DataType.INT8] * 3
    image = {"x": next(images(SHAPE))}
    (expected, actual) = (next(iter(run(m, image).values())) for m in (before, after))
    # A step of one layer makes others differ behind it, by little.
    assert np.abs(actual - expected).max() <= 0.03 * np.abs(expected).max()


def test_the_layers_are_read_alike_before_and_after(tmp_path: Path) -> None:
    before = quantised(chain())
    result = mlcnn.optimize(before, form="box", check=False)
    paths = {True: tmp_path / "functions.onnx", False: tmp_path / "standard.onnx"}
    for functions, path in paths.items():
        result.save(path, functions=functions)
    read = [workload.read(model) for model in (result.model, *map(mlcnn.load, paths.values()))]
    assert read[0].layers == read[1].layers == read[2].layers
    assert not read[0].uncounted
    original = workload.read(before).layers
    for layer, was in zip(read[0].layers, original, strict=True):
        assert layer.name == was.name
        sums = 10 if layer.pool is not None else 0  # of 2x2 codes
        assert replace(layer.numbers, sums=0) == was.numbers == Numbers(8, 8)
        assert layer.numbers.sums == sums
        assert layer.before == was.stored
    first = read[0].layers[0]
    # 8x3x3x3 codes and 8 biases of 4 bytes; a scale and a zero point for each channel of both.
    assert first.stored.parameters == 8 * 27 + 8 + 2 * 8 + 2 * 8
    assert first.stored.weight_bytes == 8 * 27 + 8 * 4 + 8 * (4 + 1) + 8 * (4 + 4)
    assert first.stored.input_bytes == 3 * 16 * 16
    assert (first.before.output_bytes, first.stored.output_bytes) == (8 * 16 * 16, 8 * 8 * 8)
    row = counting.count(result.model, before).layers[0]
    assert (row.before.multiplications, row.chosen.multiplications) == (8 * 27 * 256, 8 * 27 * 64)


@pytest.mark.parametrize("form", ["expanded", "matmul", "matvec"])
def test_forms_that_mix_weights_are_refused(form: str) -> None:
    before = quantised(alone(pool="GlobalAveragePool"))
    result = fused(before, form=form)
    assert not result.changes
    assert "sums of them, which take more bits" in result.skipped[-1].reason


def test_pool_first_keeps_the_codes() -> None:
    before = quantised(alone(kernel=1))
    result = fused(before, form="pool-first")
    assert result.changes[0].form == "pool-first"
    assert_one_step(before, result.model, result.changes)


def test_a_relu_in_disguise_is_no_rounding() -> None:
    """The quantiser leaves out the ReLU whose output it cuts off at 0."""
    before = quantised(chain("relu pool"))
    assert not [node for node in before.graph if node.op_type == "Relu"]
    exact = fused(before)
    assert not exact.changes
    assert "reorder (approximate)" in exact.skipped[0].reason
    result = fused(before, "mlcnn", form="box")
    assert [c.nodes[0] for c in result.changes if c.form] == ["first", "second"]
    assert {c.exact for c in result.changes if c.pass_name == "reorder"} == {False}


def joined(join: str) -> ir.Model:
    net = Net(*SHAPE)
    branches = [net.conv(net.x, 4, channels=3, name=name) for name in ("a", "b")]
    joint = net.op(join, *branches, name="join", **({"axis": 1} if join == "Concat" else {}))
    return net.model(net.pool(joint))


def test_a_relu_that_is_kept_is_passed_by_reorder() -> None:
    before = quantised(chain("relu pool"), activation="QInt8", ActivationSymmetric=True)
    assert [node for node in before.graph if node.op_type == "Relu"]
    result = fused(before, "mlcnn", form="box")
    assert [c.nodes[0] for c in result.changes if c.form] == ["first", "second"]


def test_weights_rounded_from_floats_are_constants() -> None:
    """As torch exports what it trained: float weights, then both nodes."""
    net = Net(*SHAPE)
    weight = net.weight("conv.weight", 4, 3, 3, 3)
    scale, zero = net.initializer("s", np.full(4, 0.02, np.float32)), np.zeros(4, np.int8)
    codes = net.op("QuantizeLinear", weight, scale, zero, axis=0)
    rounded = net.op("DequantizeLinear", codes, scale, zero, axis=0)
    before = net.model(net.pool(net.conv(net.x, 4, channels=3, weight=rounded)))
    result = fused(before, form="box")
    (change,) = result.changes
    assert change.nodes[0] == "conv"
    assert "8-bit codes" in change.reason
    image = {"x": next(images(SHAPE))}
    (expected, actual) = (next(iter(run(m, image).values())) for m in (before, result.model))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert not fused(before, form="expanded").changes


@pytest.mark.parametrize("join", ["Concat", "Add"])
def test_pools_move_through_joins(join: str) -> None:
    before = quantised(joined(join))
    result = fused(before, form="box")
    assert [c.nodes[0] for c in result.changes if c.form] == ["a", "b"]
    moved = next(c for c in result.changes if c.pass_name == "distribute-pool")
    scales = [
        pair.step
        for n in before.graph
        if (pair := read_rounding(n.outputs[0])) and n.outputs[0].uses()
    ]
    # Every pair on the way rounds once in front of the pool and once behind it: the input's and
    # the output's are not among them.
    steps = {"Add": sum, "Concat": max}[join](scales[1:3]) + scales[3]
    assert moved.deviation == pytest.approx(steps)
    assert len(result.verification.sites) == 3


def test_a_batch_norm_does_not_make_floats_of_codes() -> None:
    net = Net(*SHAPE)
    model = net.model(net.norm(net.conv(net.x, 4, channels=3), 4))
    result = FoldBatchNorm().apply(quantised(model))
    assert not result.changes
    conv = quantised(alone())
    norm = Net("n", 8, 8, 8)
    statistics = [norm.initializer(str(i), np.ones(8, np.float32)) for i in range(4)]
    for value in statistics:
        conv.graph.register_initializer(value)
    producer = next(node for node in conv.graph if node.op_type == "Conv")
    output = producer.outputs[0]
    node = ir.node("BatchNormalization", [output, *statistics])
    node.outputs[0].type, node.outputs[0].shape = output.type, output.shape
    ir.convenience.replace_all_uses_with(output, node.outputs[0])
    node.replace_input_with(0, output)
    conv.graph.insert_after(producer, node)
    (skipped,) = FoldBatchNorm().apply(conv).skipped
    assert "8-bit codes" in skipped.reason


def test_a_pair_of_two_scales_is_no_rounding() -> None:
    before = quantised(alone())
    pair = next(n for n in before.graph if n.op_type == "QuantizeLinear" and n.inputs[0].producer())
    other = ir.Value(name="other", const_value=ir.tensor(np.float32(0.5), name="other"))
    other.shape, other.type = ir.Shape([]), ir.TensorType(ir.DataType.FLOAT)
    before.graph.register_initializer(other)
    pair.replace_input_with(1, other)
    result = fused(before)
    assert not result.changes
    assert "DequantizeLinear" in result.skipped[0].reason


def bias_dropped(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type == "ConvPoolBox":
            node.replace_input_with(2, None)


def activation_dropped(model: ir.Model) -> None:
    """As if the pair that cuts off negative values only rounded."""
    pool = next(node for node in model.graph if node.op_type == "AveragePool")
    rounding = read_rounding(pool.inputs[0])
    pool.replace_input_with(0, rounding.source)
    for node in reversed(rounding.nodes):
        model.graph.remove(node, safe=True)


@pytest.mark.parametrize(("order", "wrong"), [
    ("pool", Wrong(after=bias_dropped)),
    ("pool", Wrong(after=attributes("ConvPoolBox", conv_pads=(0, 0, 0, 0), box_pads=(2, 2, 2, 2)))),
    ("pool", Wrong(before=weights("weight_quantized", lambda array: array[::-1]))),
    ("pool", Wrong(before=weights("bias_quantized", lambda array: array + 1))),
    ("relu pool", Wrong(before=activation_dropped)),
    ("relu pool", Wrong(right=Reorder())),
])  # fmt: skip
def test_wrong_rewrites_are_caught(order: str, wrong: Wrong) -> None:
    before = quantised(chain(order))
    result = wrong.apply(before)
    try:
        failure = check_site(wrong, before, result.model, result.changes[0]).failure
    except MlcnnError as error:
        failure = str(error)
    assert failure is not None


def test_a_wrong_scale_is_caught() -> None:
    """Without rounding it is not there: the check with it sees it."""
    before = quantised(joined("Concat"))
    coarse = weights("_scale", lambda array: array * 4 if array.ndim == 0 else array)
    wrong = Wrong(right=DistributePool(), after=coarse)
    result = wrong.apply(before)
    check = check_site(wrong, before, result.model, result.changes[0])
    assert check.error <= 1e-12
    assert check.failure is not None


def test_a_rounding_larger_than_said_is_caught() -> None:
    before = quantised(chain("pool"))
    result = Fuse(form="box").apply(before)
    (change, *_) = result.changes
    assert check_site(Fuse(form="box"), before, result.model, change).failure is None
    understated = Change(
        change.pass_name, change.nodes, exact=True, form="box", inputs=change.inputs,
        outputs=change.outputs, deviation=change.deviation / 10,
    )  # fmt: skip
    assert check_site(Fuse(form="box"), before, result.model, understated).failure is not None


def test_vgg16_keeps_its_sites(tmp_path: Path) -> None:
    passes = "fold-constants,fold-batch-norm,max-to-average,reorder"
    before = quantised(mlcnn.optimize("vgg16", passes=passes, check=False).model)
    optimized = mlcnn.optimize(before)
    expected = ["features.3", "features.10", "features.20", "features.30", "features.40"]
    assert [change.nodes[0] for change in optimized.fused] == expected
    assert {change.form for change in optimized.fused} == {"box"}
    assert optimized.network is not None
    assert optimized.network.error < 1e-5
    optimized.save(tmp_path / "fused.onnx")
    after = mlcnn.load(tmp_path / "fused.onnx")
    assert workload.read(after).layers == workload.read(optimized.model).layers
    assert_one_step(before, after, optimized.fused)
