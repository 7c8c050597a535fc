"""Deliberately wrong rewrites: the check at the site catches each one."""

import re
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.spoiling import Wrong, attributes, weights

from mlcnn.errors import PassError
from mlcnn.passes import (
    DistributePool,
    FoldBatchNorm,
    Fuse,
    MaxToAverage,
    Reorder,
    ReorderMax,
    pipeline,
)
from mlcnn.passes.verification import TOLERANCE, SiteCheck, check_site, verify


def bias_dropped(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type in {"Conv", "ConvPoolBox"} and node.inputs[2] is not None:
            node.replace_input_with(2, None)


def pool_padding_moved_to_the_convolution(model: ir.Model) -> None:
    """As if zeros around the convolution's output were zeros around its input."""
    attributes("Conv", pads=(2, 2, 2, 2))(model)
    attributes("AveragePool", pads=(0, 0, 0, 0), count_include_pad=1)(model)


def joined_in_reverse(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type == "Concat":
            first, second = node.inputs
            node.replace_input_with(0, second)
            node.replace_input_with(1, first)


def plain(**options: object) -> ir.Model:
    net = Net()
    return net.model(net.pool(net.conv(net.x), **options))


def padded(**options: object) -> ir.Model:
    net = Net()
    return net.model(net.pool(net.conv(net.x), 3, 2, pads=[1] * 4, **options))


def normed() -> ir.Model:
    net = Net()
    return net.model(net.norm(net.conv(net.x)))


def activated(op_type: str = "Relu", pool: str = "AveragePool") -> ir.Model:
    net = Net()
    return net.model(net.pool(net.op(op_type, net.conv(net.x), name="act"), op_type=pool))


def concatenated() -> ir.Model:
    net = Net()
    branches = [net.conv(net.x, name="conv"), net.conv(net.x, name="other")]
    return net.model(net.pool(net.op("Concat", *branches, axis=1, name="cat")))


def shifted_under_padding() -> ir.Model:
    net = Net()
    return net.model(net.pool(net.norm(net.conv(net.x)), 3, 2, pads=[1] * 4))


def global_pool() -> ir.Model:
    net = Net()
    return net.model(net.op("GlobalAveragePool", net.conv(net.x), name="pool"))


EXPANDED, MATVEC, POOL_FIRST = (Fuse(form=name) for name in ("expanded", "matvec", "pool-first"))
FOLD = FoldBatchNorm()

WRONG: dict[str, tuple[Callable[[], ir.Model], Wrong]] = {
    "box padded one too early": (plain, Wrong(
        after=attributes("ConvPoolBox", box_pads=(0, 1, 2, 1)))),
    "box padded one too late": (plain, Wrong(
        after=attributes("ConvPoolBox", box_pads=(2, 2, 0, 0)))),
    "box one too large": (plain, Wrong(
        after=attributes("ConvPoolBox", box_kernel=(3, 2), box_pads=(1, 1, 2, 1)))),
    "box one too small": (plain, Wrong(
        after=attributes("ConvPoolBox", box_kernel=(2, 1), box_pads=(1, 1, 1, 0)))),
    "pool dropped": (plain, Wrong(
        after=attributes("ConvPoolBox", box_kernel=(1, 1), box_pads=(1, 1, 0, 0)))),
    "sum, not mean": (plain, Wrong(after=weights("conv.weight", lambda w: w * 4))),
    "divided twice": (plain, Wrong(after=weights("conv.weight", lambda w: w / 4))),
    "bias scaled": (plain, Wrong(after=weights("conv.bias", lambda b: b / 4))),
    "bias slightly scaled": (plain, Wrong(after=weights("conv.bias", lambda b: b * (1 + 1e-4)))),
    "bias dropped": (plain, Wrong(after=bias_dropped)),
    "rows and columns of the weight swapped": (plain, Wrong(
        after=weights("conv.weight", lambda w: w.swapaxes(2, 3)))),
    "weight flipped, as a true convolution": (plain, Wrong(
        after=weights("conv.weight", lambda w: w[:, :, ::-1, ::-1]))),
    "filters rolled": (plain, Wrong(after=weights("conv.weight", lambda w: np.roll(w, 1, axis=0)))),
    "channels rolled": (plain, Wrong(
        after=weights("conv.weight", lambda w: np.roll(w, 1, axis=1)))),
    "expanded kernel shifted": (plain, Wrong(EXPANDED,
        after=attributes("ConvPoolExpanded", conv_pads=(0, 1, 2, 1)))),
    "expanded kernel trimmed too far": (plain, Wrong(EXPANDED,
        after=weights("conv.weight", lambda w: np.pad(w[..., :-1], [(0, 0)] * 3 + [(0, 1)])))),
    "expanded kernel rolled": (plain, Wrong(EXPANDED,
        after=weights("conv.weight", lambda w: np.roll(w, 1, axis=-1)))),
    "border forgotten, padding not counted": (padded, Wrong(
        before=pool_padding_moved_to_the_convolution)),
    "border forgotten, padding counted": (lambda: padded(count_include_pad=1), Wrong(
        before=pool_padding_moved_to_the_convolution)),
    "divided by the whole window at the border": (padded, Wrong(
        before=attributes("AveragePool", count_include_pad=1))),
    "divided by the valid part at the border": (lambda: padded(count_include_pad=1), Wrong(
        before=attributes("AveragePool", count_include_pad=0))),
    "bias not scaled where padding is counted": (lambda: padded(count_include_pad=1), Wrong(
        after=weights("conv.scale", np.ones_like))),
    "matrix of means transposed": (global_pool, Wrong(MATVEC,
        after=weights("conv.means", lambda m: m[:, ::-1]))),
    "matrix of means of another size": (global_pool, Wrong(MATVEC,
        after=weights("conv.means", lambda m: m * 64 / 63))),
    "fold without mean": (normed, Wrong(FOLD,
        before=weights("norm.mean", np.zeros_like))),
    "fold without epsilon": (normed, Wrong(FOLD,
        before=attributes("BatchNormalization", epsilon=0.0))),
    "fold with another epsilon": (normed, Wrong(FOLD,
        before=attributes("BatchNormalization", epsilon=1.1e-5))),
    "fold with the variance for the deviation": (normed, Wrong(FOLD,
        before=weights("norm.var", np.square))),
    "fold without the old bias": (normed, Wrong(FOLD,
        before=weights("conv.bias", np.zeros_like))),
    "fold with channels swapped": (normed, Wrong(FOLD,
        after=weights("conv.weight", lambda w: w[::-1]))),
    "activation moved, called exact": (activated, Wrong(Reorder())),
    "max replaced by mean, called exact": (
        lambda: activated(pool="MaxPool"), Wrong(MaxToAverage(all=True))),
    "branches joined in another order": (concatenated, Wrong(DistributePool(),
        after=joined_in_reverse)),
    "shift moved out of counted padding": (shifted_under_padding, Wrong(DistributePool(),
        after=attributes("AveragePool", count_include_pad=1))),
    "falling activation behind a max pool": (
        lambda: activated("LeakyRelu", "MaxPool"), Wrong(ReorderMax(),
        after=attributes("LeakyRelu", alpha=-0.5))),
}  # fmt: skip


def _check(model: ir.Model, wrong: Wrong) -> SiteCheck:
    result = wrong.apply(model)
    assert len(result.changes) == 1
    return check_site(wrong, model, result.model, result.changes[0])


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rewrite_is_caught(name: str) -> None:
    build, wrong = WRONG[name]
    model = build()
    check = _check(model, wrong)
    assert check.error > TOLERANCE * 1e4
    assert not check.vacuous
    with pytest.raises(PassError, match=r"^wrong is not exact at "):
        verify(pipeline.run(model, [wrong]))


@pytest.mark.parametrize("name", WRONG)
def test_the_right_one_is_not(name: str) -> None:
    """Otherwise the test above would pass for nothing."""
    build, wrong = WRONG[name]
    if wrong.right.exact:
        check = _check(build(), Wrong(wrong.right))
        assert check.error <= TOLERANCE
        assert check.deployed_error <= 1e-5


def test_message_of_a_wrong_rewrite() -> None:
    wrong = Wrong(after=weights("conv.bias", lambda b: b / 4))
    with pytest.raises(PassError) as caught:
        verify(pipeline.run(plain(), [wrong]))
    number = r"\d\.\de[-+]\d\d"
    assert re.fullmatch(
        rf"wrong is not exact at conv \(form box\): error {number} in float64, {number} with "
        r"stored weights; at most 1e-12 and 1e-05 are allowed",
        str(caught.value),
    )


def test_strides_of_rows_and_columns_swapped_change_the_shape() -> None:
    net = Net("n", 2, 12, 12)
    model = net.model(net.op(
        "AveragePool", net.conv(net.x), kernel_shape=[2, 3], strides=[2, 3], name="pool"
    ))  # fmt: skip
    wrong = Wrong(after=attributes("ConvPoolBox", conv_strides=(3, 2)))
    with pytest.raises(PassError) as caught:
        _check(model, wrong)
    assert str(caught.value) == (
        "wrong changed the shape of pool:0 from (2, 2, 6, 4) to (2, 2, 4, 5) at conv"
    )


def test_rewrite_that_rounds_too_much_is_caught_with_stored_weights() -> None:
    """In float64 nothing is wrong: the weights are rounded where they are stored in float32."""

    def rounded(model: ir.Model) -> None:
        if next(iter(model.graph.initializers.values())).dtype is ir.DataType.FLOAT:
            weights("conv.weight", lambda w: w.astype(np.float16))(model)

    check = _check(plain(), Wrong(after=rounded))
    assert check.error <= TOLERANCE
    assert check.deployed_error > 1e-5
    with pytest.raises(PassError, match="with stored weights"):
        verify(pipeline.run(plain(), [Wrong(after=rounded)]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rewrite_that_computes_no_number_is_caught(bad: float) -> None:
    wrong = Wrong(after=weights("conv.weight", lambda w: np.full_like(w, bad)))
    check = _check(plain(), wrong)
    assert check.error == check.deployed_error == np.inf
