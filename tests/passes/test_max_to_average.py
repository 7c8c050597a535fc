"""Max pools become average pools of the same output size, only where that gains something."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from passes.builder import Net
from passes.story import inputs_of, run, story
from torch.nn import functional as F

from mlcnn.passes import MaxToAverage, WindowMode, pipeline

SHRINKS_ONLY = "the window can shrink to the stride only where height and width are static"


def _model(
    size: int | str, kernel: int, stride: int, *, activation: bool = True, **options: object
) -> ir.Model:
    net = Net("n", 2, size, size)
    value = net.conv(net.x)
    if activation:
        value = net.op("Relu", value, name="relu")
    return net.model(net.pool(value, kernel, stride, op_type="MaxPool", **options))


def _averaged(model: ir.Model, window: WindowMode, **options: object) -> ir.Node:
    result = MaxToAverage(window, **options).apply(model)
    assert [change.exact for change in result.changes] == [False]
    return next(node for node in result.model.graph if node.name == "pool")


def _attributes(node: ir.Node) -> dict[str, object]:
    return {name: attribute.value for name, attribute in node.attributes.items()}


def test_keep_keeps_the_window() -> None:
    model = _model(8, 3, 2, pads=[1] * 4)
    node = _averaged(model, WindowMode.KEEP)
    assert node.op_type == "AveragePool"
    assert _attributes(node) == {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}


def test_stride_shrinks_the_window() -> None:
    node = _averaged(_model(8, 3, 2, pads=[1] * 4), WindowMode.STRIDE)
    assert _attributes(node) == {"kernel_shape": (2, 2), "strides": (2, 2)}


@pytest.mark.parametrize("window", WindowMode)
def test_window_that_is_the_stride_stays(window: WindowMode) -> None:
    node = _averaged(_model(8, 2, 2), window)
    assert _attributes(node) == {"kernel_shape": (2, 2), "strides": (2, 2)}


def test_padding_is_not_counted() -> None:
    """A max pool never takes its padding: neither does the average in its place."""
    net = Net("n", 2, 5, 5)
    model = net.model(net.pool(net.conv(net.x), 3, 2, op_type="MaxPool", pads=[1] * 4))
    result = MaxToAverage(WindowMode.KEEP).apply(model)
    (source,) = inputs_of(model).values()
    p = {n: torch.from_numpy(v.const_value.numpy()) for n, v in model.graph.initializers.items()}
    conv = F.conv2d(torch.from_numpy(source), p["conv.weight"], p["conv.bias"], padding=1)
    expected = F.avg_pool2d(conv, 3, 2, 1, count_include_pad=False).numpy()
    (actual,) = run(result.model, {"x": source})
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", range(5, 12))
@pytest.mark.parametrize(("kernel", "pad"), [(2, 0), (3, 0), (3, 1), (4, 1), (5, 2)])
@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_output_size_stays(size: int, kernel: int, pad: int, ceil_mode: int) -> None:
    """Odd sizes too: the narrow window is partial at the end, or the site is left alone."""
    model = _model(size, kernel, 2, pads=[pad] * 4, ceil_mode=ceil_mode)
    before = model.graph.outputs[0].shape
    result = MaxToAverage().apply(model)
    assert len(result.changes) + len(result.skipped) == 1
    assert result.model.graph.outputs[0].shape == before
    source = inputs_of(model)
    assert run(result.model, source)[0].shape == run(model, source)[0].shape
    if result.skipped:
        old = F.max_pool2d(torch.zeros(1, 1, size, size), kernel, 2, pad, ceil_mode=bool(ceil_mode))
        assert old.shape[-1] not in {size // 2, -(-size // 2)}
        assert result.skipped[0].reason == (
            f"a window of the stride's size would change the output size {old.shape[-1]}"
        )


def test_odd_size_takes_a_partial_window_at_the_end() -> None:
    """7 wide, 3/2 padded by 1 gives 4 outputs: 2/2 needs a fourth, partial window."""
    node = _averaged(_model(7, 3, 2, pads=[1] * 4), WindowMode.STRIDE)
    assert _attributes(node) == {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1}


def test_dynamic_size() -> None:
    for kernel, window, reason in (
        (2, WindowMode.STRIDE, None),
        (3, WindowMode.KEEP, None),
        (3, WindowMode.STRIDE, SHRINKS_ONLY),
    ):
        result = MaxToAverage(window).apply(_model("h", kernel, 2))
        assert [skipped.reason for skipped in result.skipped] == ([reason] if reason else [])
        assert len(result.changes) == (reason is None)


def test_dynamic_size_stays_dynamic() -> None:
    result = MaxToAverage().apply(_model("h", 2, 2))
    shape = result.model.graph.outputs[0].shape
    assert [isinstance(dim, int) for dim in shape] == [False, True, False, False]


def test_only_sites_that_fuse_takes_are_touched() -> None:
    """A max pool between pools, or behind what an average does not pass, pays for nothing."""
    net = Net()
    first = net.pool(net.op("Relu", net.conv(net.x), name="relu"), op_type="MaxPool", name="first")
    second = net.pool(first, op_type="MaxPool", name="second")
    third = net.pool(net.op("Softmax", second, axis=1, name="softmax"), op_type="MaxPool")
    model = net.model(third)
    assert story(model, "max-to-average") == [
        "max-to-average rewrites conv, relu, first",
        "max-to-average leaves second: AveragePool (first) stands before the pool",
        "max-to-average leaves pool: Softmax (softmax) stands before the pool",
    ]
    assert story(model, "max-to-average{all}") == [
        "max-to-average rewrites conv, relu, first",
        "max-to-average rewrites second",
        "max-to-average rewrites pool",
    ]


def test_inner_pool_of_stride_one_is_left_alone() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 3, 1, op_type="MaxPool", pads=[1] * 4))
    reason = "conv: the pool's output is as large as its input: no multiplication is saved"
    for window in WindowMode:
        told = story(model, f"max-to-average{{window={window}}}")
        assert told == [f"max-to-average leaves pool: {reason}"]


@pytest.mark.parametrize(("options", "reason"), [
    ({"dilations": [2, 2]}, "the pool is dilated"),
    ({"outputs": 2}, "the pool's indices are used"),
])  # fmt: skip
def test_pools_that_have_no_average(options: dict[str, object], reason: str) -> None:
    net = Net()
    pool = net.pool(net.conv(net.x), op_type="MaxPool", **options)
    outputs = [pool]
    if "outputs" in options:
        outputs.append(net.op("Cast", net.nodes[-1].outputs[1], to=ir.DataType.FLOAT, name="cast"))
    model = net.model(*outputs)
    for passes in ("max-to-average", "max-to-average{all}"):
        assert story(model, passes) == [f"max-to-average leaves pool: {reason}"]


def test_global_max_pool_is_not_looked_at() -> None:
    net = Net()
    model = net.model(net.op("GlobalMaxPool", net.conv(net.x), name="pool"))
    assert story(model, "max-to-average") == []


def test_node_keeps_its_name_and_origin() -> None:
    model = _model(8, 2, 2)
    pool = next(node for node in model.graph if node.op_type == "MaxPool")
    pool.metadata_props["origin"] = "somewhere"
    node = _averaged(model, WindowMode.STRIDE)
    assert node.metadata_props["origin"] == "somewhere"


def test_result_is_fused() -> None:
    passes = "max-to-average,reorder,fuse{form=box}"
    result = pipeline.run(_model(8, 3, 2, pads=[1] * 4), pipeline.parse(passes))
    assert [change.form for change in result.changes] == [None, None, "box"]
