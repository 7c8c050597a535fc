"""Which operators a pool passes on its way to a convolution, exactly or approximately."""

import math

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.story import story

from mlcnn.passes import Fuse

FUSED = "fuse rewrites conv, conv/AveragePool as box"


def _between(op_type: str, *constants: float | np.ndarray, **attributes: object) -> ir.Model:
    """input -> conv -> one operator ``act`` -> average pool."""
    net = Net()
    return net.model(
        net.pool(net.op(op_type, net.conv(net.x), *constants, name="act", **attributes))
    )


def test_pool_directly_behind_a_convolution_is_fused() -> None:
    net = Net()
    assert story(net.model(net.pool(net.conv(net.x)))) == ["fuse rewrites conv, pool as box"]


def test_convolution_without_bias() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x, bias=False)))
    assert story(model) == ["fuse rewrites conv, pool as box"]


@pytest.mark.parametrize("op_type", [
    "Abs", "Celu", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish",
    "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
])  # fmt: skip
def test_activation_is_reordered(op_type: str) -> None:
    assert story(_between(op_type)) == ["reorder rewrites conv, act, pool", FUSED]


@pytest.mark.parametrize(("op_type", "constants"), [
    ("Clip", (0.0, 6.0)),
    ("Max", (0.0,)),
    ("Pow", (3.0,)),
    ("PRelu", (np.array([[[0.1]], [[0.2]]], np.float32),)),
])  # fmt: skip
def test_activation_with_constants_is_reordered(op_type: str, constants: tuple) -> None:
    assert story(_between(op_type, *constants)) == ["reorder rewrites conv, act, pool", FUSED]


def test_division_by_a_value_is_an_activation_not_a_scale() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Div", 1.0, net.conv(net.x), name="reciprocal")))
    assert story(model) == ["reorder rewrites conv, reciprocal, pool", FUSED]


def test_spelled_out_silu() -> None:
    net = Net()
    conv = net.conv(net.x)
    silu = net.op("Mul", conv, net.op("Sigmoid", conv, name="sigmoid"), name="mul")
    assert story(net.model(net.pool(silu))) == [
        "reorder rewrites conv, sigmoid, mul, pool",
        FUSED,
    ]


def test_spelled_out_gelu() -> None:
    """x / 2 * (1 + erf(x / sqrt(2)))"""
    net = Net()
    conv = net.conv(net.x)
    erf = net.op("Erf", net.op("Div", conv, math.sqrt(2), name="div"), name="erf")
    product = net.op("Mul", conv, net.op("Add", erf, 1.0, name="add"), name="mul")
    assert story(net.model(net.pool(net.op("Mul", product, 0.5, name="half")))) == [
        "reorder rewrites conv, half, div, erf, add, mul, pool",
        FUSED,
    ]


def test_spelled_out_gelu_by_tanh() -> None:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))"""
    net = Net()
    conv = net.conv(net.x)
    cube = net.op("Mul", net.op("Pow", conv, 3.0, name="pow"), 0.044715, name="cube")
    inner = net.op("Mul", net.op("Add", conv, cube, name="sum"), math.sqrt(2 / math.pi), name="arg")
    factor = net.op("Add", net.op("Tanh", inner, name="tanh"), 1.0, name="plus")
    gelu = net.op("Mul", net.op("Mul", conv, 0.5, name="half"), factor, name="gelu")
    assert story(net.model(net.pool(gelu))) == [
        "reorder rewrites conv, pow, cube, sum, arg, tanh, plus, half, gelu, pool",
        FUSED,
    ]


def test_spelled_out_hard_swish() -> None:
    """x * clip(x + 3, 0, 6) / 6"""
    net = Net()
    conv = net.conv(net.x)
    clip = net.op("Clip", net.op("Add", conv, 3.0, name="add"), 0.0, 6.0, name="clip")
    swish = net.op("Div", net.op("Mul", conv, clip, name="mul"), 6.0, name="div")
    assert story(net.model(net.pool(swish))) == [
        "reorder rewrites conv, div, add, clip, mul, pool",
        FUSED,
    ]


@pytest.mark.parametrize("op_type", ["Dropout", "Identity"])
def test_operator_without_effect_is_passed_exactly(op_type: str) -> None:
    assert story(_between(op_type)) == ["distribute-pool rewrites conv, act, pool", FUSED]


def test_dropout_with_its_mask_unused() -> None:
    net = Net()
    dropout = net.op("Dropout", net.conv(net.x), name="act", outputs=2)
    assert story(net.model(net.pool(dropout))) == [
        "distribute-pool rewrites conv, act, pool",
        FUSED,
    ]


def test_batch_norm_is_passed_exactly() -> None:
    net = Net()
    assert story(net.model(net.pool(net.norm(net.conv(net.x))))) == [
        "distribute-pool rewrites conv, norm, pool",
        FUSED,
    ]


def test_batch_norm_then_relu() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Relu", net.norm(net.conv(net.x)), name="relu")))
    assert story(model) == ["reorder rewrites conv, relu, norm, pool", FUSED]
    assert story(model, "exact") == [
        "fold-batch-norm rewrites conv, norm",
        (
            "fuse leaves conv: the pool does not stand directly behind the convolution: "
            "reorder (approximate) moves it there"
        ),
    ]


def test_relu_then_batch_norm() -> None:
    net = Net()
    model = net.model(net.pool(net.norm(net.op("Relu", net.conv(net.x), name="relu"))))
    assert story(model) == ["reorder rewrites conv, norm, relu, pool", FUSED]


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 1), (1, 2, 1, 1)])
def test_scale_or_shift_per_channel(op_type: str, *, first: bool, shape: tuple[int, ...]) -> None:
    net = Net()
    operands = [net.conv(net.x), net.weight("factor", *shape)]
    if first:
        operands.reverse()
    way = "reorder" if op_type == "Div" and first else "distribute-pool"
    model = net.model(net.pool(net.op(op_type, *operands, name="affine")))
    assert story(model) == [f"{way} rewrites conv, affine, pool", FUSED]


@pytest.mark.parametrize("window", ["same", "overlapping"])
def test_max_pool_becomes_average_and_is_fused(window: str) -> None:
    net = Net()
    relu = net.op("Relu", net.conv(net.x), name="relu")
    options = (2, 2) if window == "same" else (3, 2)
    pads = [0] * 4 if window == "same" else [1] * 4
    model = net.model(net.pool(relu, *options, op_type="MaxPool", pads=pads))
    assert story(model) == [
        "max-to-average rewrites conv, relu, pool",
        "reorder rewrites conv, relu, pool",
        FUSED,
    ]


def test_a_site_reports_the_pool_between_moved_nodes_of_its_own() -> None:
    """Two sites in a row, the second on the output of the first."""
    net = Net("n", 2, 16, 16)
    value = net.x
    for index in (1, 2):
        conv = net.conv(value, name=f"conv{index}")
        value = net.pool(net.op("Relu", conv, name=f"relu{index}"), name=f"pool{index}")
    assert story(net.model(value)) == [
        "reorder rewrites conv1, relu1, pool1",
        "reorder rewrites conv2, relu2, pool2",
        "fuse rewrites conv1, conv1/AveragePool as box",
        "fuse rewrites conv2, conv2/AveragePool as box",
    ]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (3, 2)])
def test_mean_over_height_and_width(keepdims: int, axes: tuple[int, int]) -> None:
    net = Net()
    mean = net.op("ReduceMean", net.conv(net.x), np.array(axes), keepdims=keepdims, name="mean")
    assert story(net.model(mean)) == ["fuse rewrites conv, mean as box"]


@pytest.mark.parametrize("keepdims", [0, 1])
def test_mean_behind_an_activation(keepdims: int) -> None:
    net = Net()
    relu = net.op("Relu", net.conv(net.x), name="relu")
    mean = net.op("ReduceMean", relu, np.array([2, 3]), keepdims=keepdims, name="mean")
    assert story(net.model(mean)) == [
        "reorder rewrites conv, relu, mean",
        "fuse rewrites conv, conv/GlobalAveragePool as box",
    ]


def test_global_pool() -> None:
    net = Net()
    model = net.model(net.op("GlobalAveragePool", net.conv(net.x), name="pool"))
    assert story(model) == ["fuse rewrites conv, pool as box"]


def test_global_pool_over_dynamic_sizes_behind_a_1x1_convolution() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.op("GlobalAveragePool", net.conv(net.x, kernel=1), name="pool"))
    assert story(model, "fuse") == ["fuse rewrites conv, pool as pool-first"]


def test_dynamic_height_and_width() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.pool(net.op("Relu", net.conv(net.x), name="relu")))
    assert story(model) == ["reorder rewrites conv, relu, pool", FUSED]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_given_by_name(mode: str) -> None:
    net = Net("n", 2, 9, 9)
    model = net.model(net.pool(net.conv(net.x, auto_pad=mode, strides=[2, 2], kernel=4)))
    assert story(model) == ["fuse rewrites conv, pool as box"]


def test_pool_that_counts_padding_behind_a_scale() -> None:
    net = Net()
    scaled = net.op("Mul", net.conv(net.x), net.per_channel("factor", 2), name="scale")
    model = net.model(net.pool(scaled, 3, 2, pads=[1] * 4, count_include_pad=1))
    assert story(model) == ["distribute-pool rewrites conv, scale, pool", FUSED]


def test_padding_that_is_not_counted_behind_a_shift() -> None:
    net = Net()
    model = net.model(net.pool(net.norm(net.conv(net.x)), 3, 2, pads=[1] * 4))
    assert story(model) == ["distribute-pool rewrites conv, norm, pool", FUSED]


def test_counted_padding_that_no_window_reads() -> None:
    """Over 8 x 8 the last 2 x 2 window ends before the padding."""
    net = Net()
    norm = net.norm(net.conv(net.x))
    model = net.model(net.pool(norm, 2, 2, pads=[0, 0, 1, 1], count_include_pad=1))
    assert story(model) == ["distribute-pool rewrites conv, norm, pool", FUSED]


def test_bias_under_a_pool_that_counts_its_padding() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 3, 2, pads=[1] * 4, count_include_pad=1))
    assert story(model) == ["fuse rewrites conv, pool as box"]


def test_two_convolutions_that_share_a_weight() -> None:
    net = Net()
    weight = net.weight("shared.weight", 2, 2, 3, 3)
    pools = [
        net.pool(net.conv(net.x, name=name, weight=weight), 3, 2, pads=[1] * 4, name=f"{name}_pool")
        for name in ("first", "second")
    ]
    model = net.model(*pools)
    assert story(model) == [
        "fuse rewrites shared, first_pool as box",
        "fuse rewrites shared, second_pool as box",
    ]
    assert story(model, "fuse{form=expanded}") == [
        "fuse rewrites shared, first_pool as expanded",
        "fuse rewrites shared, second_pool as expanded",
    ]


def test_two_pools_in_a_row() -> None:
    """The operator of the first is opaque to the pass itself; a run goes on behind it."""
    net = Net()
    model = net.model(net.pool(net.pool(net.conv(net.x), name="first"), name="second"))
    once = Fuse(form="box").apply(model)
    assert [(change.nodes, change.form) for change in once.changes] == [(("conv", "first"), "box")]
    assert [(left.node, left.reason) for left in once.skipped] == [
        ("second", "ConvPoolBox (conv) stands before the pool"),
    ]
    assert story(model, "fuse{form=box}") == ["fuse rewrites conv, first, second as box"]


def test_stride_one_saves_where_the_window_leaves_fewer_outputs() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 2, 1))
    assert story(model) == ["fuse rewrites conv, pool as box"]


def test_grouped_and_depthwise_convolutions() -> None:
    net = Net("n", 4, 8, 8)
    grouped = net.conv(net.x, 6, channels=4, group=2, name="grouped")
    depthwise = net.conv(net.x, 4, channels=4, group=4, name="depthwise")
    pools = [net.pool(grouped, name="first"), net.pool(depthwise, name="second")]
    assert story(net.model(*pools)) == [
        "fuse rewrites grouped, first as box",
        "fuse rewrites depthwise, second as box",
    ]
