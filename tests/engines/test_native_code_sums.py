"""Sums of codes in the native engine: those of a convolution in float64, whatever its geometry."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.qdq import Quantised
from engines.test_native_few_bits import computed
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.engines.native.kinds import Few
from mlcnn.engines.native.library import Op

Image = np.ndarray
IN_FLOATS = {Op.CONV, Op.DEPTHWISE, Op.WINOGRAD, Op.ROWS, Op.SPARSE, Op.POOL}


@dataclass(frozen=True)
class Case:
    """A convolution of codes.

    Attributes:
        model: the network.
        image: its input, in codes without their zero point.
        expected: its result.
    """

    model: ir.Model
    image: Image
    expected: Image


def summed(image: Image, window: tuple[int, int], pads: list[int]) -> Image:
    """Sums of windows one position apart, of an image with zeros around it."""
    padded = np.pad(image, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    return np.lib.stride_tricks.sliding_window_view(padded, window, (2, 3)).sum((4, 5))


def convolved(  # noqa: PLR0917 - a convolution
    image: Image, codes: Image, pads: list[int], strides: list[int], dilations: list[int],
    groups: int,
) -> Image:  # fmt: skip
    """In float64, which holds every sum."""
    padded = np.pad(image, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    tensors = torch.from_numpy(padded).double(), torch.from_numpy(codes).double()
    return torch.conv2d(*tensors, None, strides, 0, dilations, groups).numpy()


def weights(draw: st.DrawFn, rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Image:
    """Codes: odd ones as DoReFa's, or two's complement."""
    numbers = rng.integers(0, 1 << bits, shape)
    odd = bits < 8 and draw(st.booleans())
    return (2 * numbers - (1 << bits) + 1 if odd else numbers - (1 << bits >> 1)).astype(np.int8)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], ...]:
    """Kernel, strides, dilations, pads, and sizes of an image that has some results."""
    side = st.one_of(st.integers(1, 4), st.integers(5, 11))
    kernel, some = [draw(side), draw(side)], st.integers(1, 3)
    strides, dilations = ([draw(some), draw(some)] for _ in "sd")
    pads = [draw(st.integers(0, 3)) for _ in range(4)]
    sizes = [
        max(1, (k - 1) * d + 1 - a - b) + draw(st.integers(0, 5))
        for k, d, a, b in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    return kernel, strides, dilations, pads, sizes


@st.composite
def channels(draw: st.DrawFn) -> tuple[int, int, int]:
    """Channels and filters of a group, and groups: at most 600 channels."""
    form = draw(st.sampled_from(["one", "some", "by channel"]))
    if form == "one":
        return (
            draw(st.one_of(st.integers(1, 70), st.integers(71, 600))),
            draw(st.integers(1, 75)),
            1,
        )
    inner = 1 if form == "by channel" else draw(st.integers(1, 40))
    outer = 1 if form == "by channel" else draw(st.integers(1, 20))
    return inner, outer, draw(st.integers(2, min(100, 600 // inner)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A convolution of codes, of box sums of codes where a pool stands in front of it."""
    (inner, outer, groups), (kernel, strides, dilations, pads, sizes) = (
        draw(channels()),
        draw(windows()),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    of_weight, bits = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    codes = weights(draw, rng, of_weight, (outer * groups, inner, *kernel))
    below = draw(st.sampled_from([0, 0, 1, 1 << bits >> 1]))
    zero = draw(st.integers(below, 256 - (1 << bits) + below))
    box = draw(st.sampled_from([None, None, (2, 2), (2, 1), (2, 4)]))
    around = [0] * 4 if box is None else [draw(st.integers(0, 1)) for _ in range(4)]
    if box is not None:
        sizes = [
            size + side - 1 - a - b
            for size, side, a, b in zip(sizes, box, around[:2], around[2:], strict=True)
        ]
        sizes = [max(size, side) for size, side in zip(sizes, box, strict=True)]
    numbers = rng.integers(0, 1 << bits, (draw(st.integers(1, 3)), inner * groups, *sizes))
    image = (numbers - below).astype(np.float32)
    net = Quantised(inner * groups, (sizes[0], sizes[1]))
    ends = [net.constant(np.float32(end)) for end in (-below, (1 << bits) - 1 - below)]
    source, read = net.rounded(net.op("Clip", "x", *ends), 1, zero), image
    if box is not None:
        read = summed(image, box, around)
        source = net.op("AveragePool", source, kernel_shape=box, pads=around, count_include_pad=1)
    steps = np.full(len(codes), 1 if box is None else box[0] * box[1], np.float32)
    value = net.op(
        "Conv", source, net.weight(codes, steps), pads=pads, strides=strides, dilations=dilations,
        group=groups,
    )  # fmt: skip
    sums = convolved(read, codes, pads, strides, dilations, groups)
    few = of_weight <= 6 and bits <= 4
    return ended(draw, net, value, sums, image, few and draw(st.booleans()))


def ended(  # noqa: PLR0917 - a network but for its end
    draw: st.DrawFn, net: Quantised, value: str, sums: Image, image: Image, shifted: bool
) -> Case:
    """Results as codes: all bits of small sums, or the upper ones of large sums."""
    filters, most = sums.shape[1], np.abs(sums).max()
    step = np.float32(2.0 ** np.ceil(np.log2(most / 100 + 1))) if draw(st.booleans()) else 1
    if shifted:
        value = net.op("Add", value, net.constant(np.full((filters, 1, 1), 0.5, np.float32)))
        sums = sums.astype(np.float32) + np.float32(0.5)
    codes = np.clip(np.rint(sums.astype(np.float32) / np.float32(step)), -128, 127)
    model = net.model(net.rounded(value, step, 128))
    return Case(model, image, codes.astype(np.float32) * np.float32(step))


@pytest.mark.parametrize("march", MARCHES)
@given(case=cases(), kind=st.sampled_from(Few), threads=st.integers(1, 2))
@settings(max_examples=20)
def test_sums_are_those_of_float64(march: str, case: Case, kind: Few, threads: int) -> None:
    found, ops = computed(case.model, case.image, kind, march, case.expected.shape, threads)
    np.testing.assert_array_equal(found, case.expected)
    assert not ops & IN_FLOATS
