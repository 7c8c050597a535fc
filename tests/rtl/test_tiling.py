"""What the hardware refuses, and which tile it is given."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtl.layers import Case, cases, random_case

from mlcnn.errors import InfeasibleError, InputError, MlcnnError, UnsupportedError
from mlcnn.rtl.build import Build
from mlcnn.rtl.choice import choose
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.program import configure
from mlcnn.rtl.tiling import LayerTiling, check_layer, check_tiling
from mlcnn.rtl.timing import layer_cycles


def _layer(
    filters: int = 20, channels: int = 70, taps: tuple[int, int] = (3, 3), **options: Any
) -> IntegerLayer:
    given_ = {"shape": (channels, 12, 12)} | options
    return IntegerLayer(
        name="conv2",
        weights=np.ones((filters, channels, *taps), np.int64),
        bias=np.zeros(filters, np.int64),
        significand=np.ones(filters, np.int64),
        shift=np.zeros(filters, np.int64),
        **given_,
    )


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            _layer(shape=(140, 12, 12)),
            UnsupportedError,
            (
                "its weights have 70 channels and its input has 140: the hardware takes no groups; "
                "run it on the host"
            ),
        ),
        (
            _layer(fused=True, window=(3, 3)),
            UnsupportedError,
            (
                "fused with a pool window of 3x3 and convolution strides of 1x1: the input unit "
                "sums windows of 2x2 at stride 1; do not fuse it"
            ),
        ),
        (
            _layer(fused=True, window=(2, 2), strides=(2, 1)),
            UnsupportedError,
            (
                "fused with a pool window of 2x2 and convolution strides of 2x1: the input unit "
                "sums windows of 2x2 at stride 1; do not fuse it"
            ),
        ),
        (
            _layer(shape=(70, 2, 12)),
            InputError,
            (
                "a kernel of 3x3 and a pool window of 1x1 do not fit into an input of 2x12 with "
                "pads (0, 0, 0, 0): it has no outputs"
            ),
        ),
        (
            _layer(taps=(16, 1), shape=(70, 16, 12)),
            InfeasibleError,
            "kernel of 16x1, and the hardware takes 15 at most: run it on the host",
        ),
        (
            _layer(window=(1, 16), shape=(70, 12, 20)),
            InfeasibleError,
            "pool window of 1x16, and the hardware takes 15 at most: run it on the host",
        ),
        (
            _layer(strides=(16, 1)),
            InfeasibleError,
            "convolution strides of 16x1, and the hardware takes 15 at most: run it on the host",
        ),
        (
            _layer(pads=(16, 0, 0, 0)),
            InfeasibleError,
            "pads of 16x0, and the hardware takes 15 at most: run it on the host",
        ),
        (
            _layer(strides=(8, 1), pool_strides=(8, 1)),
            InfeasibleError,
            (
                "strides of convolution and pool together of 64x1, and the hardware takes 63 at "
                "most: run it on the host"
            ),
        ),
        (
            _layer(shape=(70, 4096, 3)),
            InfeasibleError,
            "input of 4096x3, and the hardware takes 4095 at most: run it on the host",
        ),
        (
            replace(_layer(), shift=np.full(20, 64)),
            InputError,
            "shift of 64 to 64: it has to be of 0 to 63",
        ),
        (
            replace(_layer(), significand=np.full(20, 2**24)),
            InputError,
            "significand of 16777216 to 16777216: it has to be of 0 to 16777215",
        ),
        (
            replace(_layer(), weights=np.full((20, 70, 3, 3), 128)),
            InputError,
            "weights of 128 to 128: it has to be of -128 to 127",
        ),
        (
            _layer(signed=False, pad_value=-1),
            InputError,
            "pad_value of -1 to -1: it has to be of 0 to 255",
        ),
        (
            _layer(low=-1, high=255),
            InputError,
            "high of 255 to 255: it has to be of -1 to 127",
        ),
    ],
)
def test_layers_that_the_hardware_cannot_run(
    layer: IntegerLayer, error: type[MlcnnError], message: str
) -> None:
    with pytest.raises(error) as refused:
        check_layer(layer)
    assert str(refused.value) == f"layer conv2: {message}"


def test_sums_are_refused_from_the_first_that_leaves_32_bits() -> None:
    # 70 * 9 weights of 1, windows of 2x2, codes of -128 at most: 322,560.
    layer = _layer(window=(2, 2), fused=True)
    bias = np.zeros(20, np.int64)
    bias[7] = 322_560 - (2**31 - 1)
    check_layer(replace(layer, bias=bias))
    bias[7] -= 1
    with pytest.raises(InfeasibleError) as refused:
        check_layer(replace(layer, bias=bias))
    assert str(refused.value) == (
        "layer conv2: sums of output channel 7 can reach 2147483648 and the hardware holds "
        "2147483647 at most (32 bits): use smaller weight codes, or run it on the host"
    )
    bias[7] = 4 * 70 * 9 * 255 - 2**31
    with pytest.raises(InfeasibleError):
        check_layer(replace(layer, bias=bias, signed=False))


_TILE = LayerTiling(2, 5, 16, 64, 2)


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (replace(_TILE, ways=3), "ways 3: it has to be a power of two of 1 to 2"),
        (replace(_TILE, ways=4), "ways 4: it has to be a power of two of 1 to 2"),
        (
            replace(_TILE, lines=11),
            "lines of a tile 11: it has to be 10, or a smaller multiple of 1",
        ),
        (replace(_TILE, line=0), "line of a tile 0: it has to be 10, or a smaller multiple of 1"),
        (
            replace(_TILE, filters=12),
            "filters of a tile 12: it has to be 20, or a smaller multiple of 8",
        ),
        (
            replace(_TILE, channels=32),
            "channels of a tile 32: it has to be 70, or a smaller multiple of 64",
        ),
    ],
)
def test_tilings_of_another_layer_or_build(tiling: LayerTiling, message: str) -> None:
    with pytest.raises(InputError) as refused:
        check_tiling(tiling, _layer(), Build())
    assert str(refused.value) == f"layer conv2: {message}"


# The input of 2x5 outputs is 4x7 in two blocks of channels; of fused ones 6x12, less one each.
# Weights: 9 groups of 9 taps in 3 turns of a beat each. Sums: 3 turns of a line of 5 in each way.
@pytest.mark.parametrize(
    ("sizes", "fused", "message"),
    [
        (
            {"filters": 19},
            False,
            (
                "20 output channels takes 20 places for bias and scale, and there are 19: raise "
                "filters of the build"
            ),
        ),
        (
            {"positions": 55},
            False,
            (
                "the input of a tile of 2x5 outputs, 70 channels of 4x7 takes 56 words of the "
                "input buffer, and there are 55: take a smaller tile or fewer channels, or raise "
                "positions of the build"
            ),
        ),
        (
            {"positions": 109},
            True,
            (
                "the input of a tile of 2x5 outputs, 70 channels of 5x11 takes 110 words of the "
                "input buffer, and there are 109: take a smaller tile or fewer channels, or raise "
                "positions of the build"
            ),
        ),
        (
            {"weight_beats": 242},
            False,
            (
                "the weights of 20 output and 70 input channels takes 243 beats of the weight "
                "buffer, and there are 242: take fewer channels, or raise weight_beats of the build"
            ),
        ),
        (
            {"entries": 14},
            False,
            (
                "a tile of 2x5 outputs in 20 channels over 16 slices takes 15 accumulators of a "
                "slice, and there are 14: take a smaller tile, or raise entries of the build"
            ),
        ),
        (
            {"row_columns": 11},
            True,
            (
                "a row of a tile of 2x5 outputs takes 12 columns of the row buffer, and there are "
                "11: take a narrower tile, or raise row_columns of the build"
            ),
        ),
    ],
)
def test_tiles_that_do_not_fit(sizes: dict[str, int], fused: bool, message: str) -> None:
    pool = (2, 2) if fused else (1, 1)
    layer = _layer(window=pool, pool_strides=pool, fused=fused)
    tiling = LayerTiling(2, 5, 20, 70, 2)
    [(name, most)] = sizes.items()
    check_tiling(tiling, layer, replace(Build(), **{name: most + 1}))
    with pytest.raises(InfeasibleError) as refused:
        check_tiling(tiling, layer, replace(Build(), **sizes))
    assert str(refused.value) == f"layer conv2: {message}"


def test_layer_of_which_no_tile_fits_names_what_the_smallest_one_takes() -> None:
    build = Build(positions=8)
    with pytest.raises(InfeasibleError) as refused:
        choose(_layer(), build, build.hardware(10, 10))
    assert str(refused.value) == (
        "layer conv2: the input of a tile of 1x1 outputs, 64 channels of 3x3 takes 9 words of the "
        "input buffer, and there are 8: take a smaller tile or fewer channels, or raise positions "
        "of the build"
    )


@settings(max_examples=25)
@given(case=cases())
def test_chosen_tile_fits_and_no_halved_one_is_faster(case: Case) -> None:
    hardware = case.build.hardware(case.dram_latency, case.write_latency)
    layer = case.layer
    chosen = choose(layer, case.build, hardware)
    least = layer_cycles(configure(layer, chosen, case.build), hardware)
    filters, channels, *_ = layer.weights.shape
    down, along = layer.outputs
    for lines, ways in product((down, -(-down // 2), 1), (1, case.build.ways)):
        tiling = LayerTiling(lines, along, filters, channels, ways)
        try:
            configuration = configure(layer, tiling, case.build)
        except InfeasibleError:
            continue
        assert least <= layer_cycles(configuration, hardware)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["positions", "weight_beats"]))
def test_no_layer_is_slower_in_a_larger_buffer_or_beside_a_nearer_memory(
    seed: int, name: str
) -> None:
    case = random_case(np.random.default_rng(seed), [Build()])
    larger = replace(case.build, **{name: 2 * getattr(case.build, name)})

    def cycles(build: Build, latency: int) -> int:
        hardware = build.hardware(latency, case.write_latency)
        tiling = choose(case.layer, build, hardware)
        return layer_cycles(configure(case.layer, tiling, build), hardware)

    here = cycles(case.build, case.dram_latency)
    assert cycles(larger, case.dram_latency) <= here
    assert cycles(case.build, case.dram_latency + 5) >= here
