"""Reading geometry from nodes, and writing it back."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from passes.builder import Net
from passes.networks import Geometry, conv_pool_model, geometries
from passes.story import inputs_of, run
from torch.nn import functional as F

from mlcnn.ops import Convolution, Pooling, average_pool_node, read_convolution, read_pooling


def _convolution(**attributes: object) -> Convolution | str:
    net = Net("n", 2, 9, 10)
    conv = net.conv(net.x, 4, kernel=(3, 2), **attributes)
    net.model(conv)
    return read_convolution(conv.producer())


def _pooling(
    op_type: str, *operands: np.ndarray, size: tuple = (9, 10), **options
) -> Pooling | str:
    net = Net("n", 2, *size)
    pool = net.op(op_type, net.x, *operands, **options)
    net.model(pool)
    return read_pooling(pool.producer())


def test_attributes_of_a_convolution() -> None:
    read = _convolution(strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 3], group=2)
    assert isinstance(read, Convolution)
    assert (read.filters, read.channels, read.groups) == (4, 2, 2)
    assert (read.kernel, read.strides, read.dilations) == ((3, 2), (2, 1), (1, 2))
    assert (read.pads, read.size, read.name) == ((1, 0, 2, 3), (9, 10), "conv")


def test_defaults_of_a_convolution() -> None:
    net = Net("n", 2, 9, 10)
    conv = net.op("Conv", net.x, net.weight("conv.weight", 4, 2, 3, 3), name="conv")
    net.model(conv)
    read = read_convolution(conv.producer())
    assert isinstance(read, Convolution)
    assert (read.strides, read.dilations, read.pads) == ((1, 1), (1, 1), (0, 0, 0, 0))
    assert (read.groups, read.bias) == (1, None)


def test_layer_of_a_convolution() -> None:
    read = _convolution(strides=[2, 1], pads=[1, 0, 2, 3], group=2)
    layer = read.layer(None)
    assert (layer.K, layer.C, layer.H, layer.W, layer.R, layer.S, layer.G) == (4, 2, 9, 10, 3, 2, 2)
    assert (layer.P, layer.Q) == (read.output_size(0), read.output_size(1)) == (5, 12)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_padding_by_name_is_that_of_onnx_runtime(mode: str, strides: list[int]) -> None:
    read = _convolution(auto_pad=mode, strides=strides)
    assert isinstance(read, Convolution)
    named, spelled = (Net("n", 2, 9, 10) for _ in range(2))
    models = [
        named.model(named.conv(named.x, 4, (3, 2), auto_pad=mode, strides=strides)),
        spelled.model(spelled.conv(spelled.x, 4, (3, 2), pads=read.pads, strides=strides)),
    ]
    (expected,), (actual,) = (run(model, inputs_of(model)) for model in models)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_padding_by_name_with_dilation() -> None:
    """ONNX Runtime refuses it; PyTorch's "same" keeps the size as SAME_UPPER does."""
    read = _convolution(auto_pad="SAME_UPPER", dilations=[2, 4])
    assert isinstance(read, Convolution)
    source, weight = torch.randn(1, 2, 9, 10), torch.randn(4, 2, 3, 2)
    expected = F.conv2d(source, weight, padding="same", dilation=(2, 4))
    top, left, bottom, right = read.pads
    padded = F.pad(source, (left, right, top, bottom))
    torch.testing.assert_close(F.conv2d(padded, weight, dilation=(2, 4)), expected)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_of_a_pool_by_name(mode: str) -> None:
    read = _pooling("AveragePool", kernel_shape=[3, 4], strides=[2, 3], auto_pad=mode)
    assert isinstance(read, Pooling)
    # 9 over stride 2: 5 outputs, 5*2-2+3-9 = 2 zeros. 10 over 3: 4 outputs, 4*3-3+4-10 = 3 zeros.
    assert read.pool.pads == {"SAME_UPPER": (1, 1, 1, 2), "SAME_LOWER": (1, 2, 1, 1)}[mode]


@pytest.mark.parametrize(("attributes", "reason"), [
    ({"auto_pad": "SAME_LOWER"}, "auto_pad SAME_LOWER with dynamic height or width"),
])  # fmt: skip
def test_padding_by_name_needs_sizes(attributes: dict[str, object], reason: str) -> None:
    net = Net("n", 2, "h", "w")
    conv = net.conv(net.x, **attributes)
    net.model(conv)
    assert read_convolution(conv.producer()) == reason


def test_negative_padding() -> None:
    assert _convolution(pads=[-1, 0, 0, 0]) == "negative padding"


def test_weight_of_another_rank() -> None:
    net = Net("n", 2, 9)
    conv = net.op("Conv", net.x, net.weight("w", 2, 2, 3))
    net.model(conv)
    reason = "a convolution over 1 dimensions: only 2-D ones are fused"
    assert read_convolution(conv.producer()) == reason


@pytest.mark.parametrize(("options", "is_global"), [
    ({"kernel_shape": [9, 10]}, True),
    ({"kernel_shape": [9, 10], "strides": [9, 10]}, True),
    ({"kernel_shape": [9, 9]}, False),
    ({"kernel_shape": [9, 10], "pads": [1, 0, 0, 0]}, False),
])  # fmt: skip
def test_pool_over_everything_is_global(options: dict[str, object], *, is_global: bool) -> None:
    read = _pooling("AveragePool", **options)
    assert isinstance(read, Pooling)
    assert read.is_global == is_global


@pytest.mark.parametrize(("pads", "counted", "counts"), [
    ([0, 0, 0, 0], 1, False),
    ([1, 0, 0, 0], 1, True),
    ([1, 0, 0, 0], 0, False),
    # 9 rows by twos: the last window ends at row 8, so a zero below is never read.
    ([0, 0, 0, 1], 1, False),
    ([0, 0, 1, 0], 1, True),
])  # fmt: skip
def test_counted_padding(pads: list[int], counted: int, *, counts: bool) -> None:
    """Whether zeros weigh in the average, for a shift must not pass then."""
    read = _pooling(
        "AveragePool", kernel_shape=[2, 2], strides=[2, 2], pads=pads, count_include_pad=counted
    )
    assert isinstance(read, Pooling)
    assert read.counts_padding == counts


def test_counted_padding_over_dynamic_sizes_counts() -> None:
    options = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 1]}
    read = _pooling("AveragePool", size=("h", "w"), count_include_pad=1, **options)
    assert read.counts_padding


@given(geometries())
def test_counted_padding_is_seen_by_a_constant_image(geometry: Geometry) -> None:
    """A mean of ones is below one exactly where a window counts a zero."""
    if geometry.pool != "AveragePool":
        return
    read = read_pooling(conv_pool_model(geometry).graph[1])
    ones = torch.ones(1, 1, *(geometry.conv_size(axis) for axis in (0, 1)), dtype=torch.float64)
    top, left, bottom, right = geometry.pool_pads
    padded = F.pad(ones, (left, right, top, bottom))
    if geometry.ceil_mode or not geometry.count_include_pad:
        return  # torch.avg_pool2d on the padded image would count its padding otherwise
    mean = F.avg_pool2d(padded, geometry.pool_kernel, geometry.pool_strides)
    assert read.counts_padding == bool((mean < 1 - 1e-9).any())


@pytest.mark.parametrize(("axes", "reason"), [
    ([1, 2, 3], "the mean is not over height and width alone"),
    ([2], "the mean is not over height and width alone"),
])  # fmt: skip
def test_other_means(axes: list[int], reason: str) -> None:
    assert _pooling("ReduceMean", np.array(axes)) == reason


def test_mean_with_axes_as_attribute() -> None:
    """As before opset 18."""
    net = Net("n", 2, 9, 10, opset=17)
    mean = net.op("ReduceMean", net.x, axes=[-1, -2], keepdims=0)
    net.model(mean)
    read = read_pooling(mean.producer())
    assert isinstance(read, Pooling)
    assert (read.is_global, read.keepdims, read.pool.kernel) == (True, False, (9, 10))


def test_window_larger_than_the_input() -> None:
    net = Net("n", 2, 3, 3)
    pool = net.op("AveragePool", net.x, kernel_shape=[4, 4])
    net.nodes[0].outputs[0].shape = ir.Shape(["n", 2, 0, 0])
    assert read_pooling(pool.producer()) == "the pool's window is larger than its input"


def test_unknown_rank() -> None:
    net = Net("n", 2, 3, 3)
    pool = net.op("GlobalAveragePool", net.op("Relu", net.x))
    assert read_pooling(pool.producer()) == "the pool's input is not a 4-D tensor of known rank"


@given(geometries())
def test_pool_is_written_as_it_was_read(geometry: Geometry) -> None:
    model = conv_pool_model(geometry)
    read = read_pooling(model.graph[1])
    assert isinstance(read, Pooling)
    conv = model.graph[0].outputs[0]
    written = average_pool_node(read, conv)
    again = read_pooling(written)
    assert isinstance(again, Pooling)
    assert (again.pool, again.is_global, again.size) == (read.pool, read.is_global, read.size)
    assert again.keepdims
