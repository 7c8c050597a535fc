"""Random layers that the hardware can run, each within some thousand cycles.

``random_case`` draws from a NumPy generator, ``random_cases`` from a seed, and ``cases`` is for
hypothesis.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlcnn.errors import InfeasibleError
from mlcnn.rtl.build import Build
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.program import configure
from mlcnn.rtl.tiling import LayerTiling, check_layer
from mlcnn.rtl.timing import layer_cycles

__all__ = ["BUILDS", "CYCLES_MOST", "Case", "cases", "random_case", "random_cases"]

BUILDS = (
    Build(slices=8, ways=4, positions=512, weight_beats=512, entries=64, row_columns=32),
    Build(slices=16, ways=2),
    Build(slices=32, ways=4, weight_beats=1024),
    Build(slices=64, ways=2, weight_beats=1024, entries=64),
)
"""Few, since each is built once."""
CYCLES_MOST = 20_000
"""Of a layer without stalls."""

T = TypeVar("T")
Whole = NDArray[np.int64]
Pick = Callable[[int, int], int]
"""A number of a range; both ends can be drawn."""


@dataclass(frozen=True, slots=True)
class Case:
    """A layer, how it runs, its input, and the memory beside it.

    Attributes:
        build: of the hardware.
        layer: what runs.
        tiling: how it is cut.
        inputs: codes, shape (C, H, W).
        dram_latency: 1 to 200 cycles.
        write_latency: 1 to 200 cycles.
        stalls: percent of the cycles in which memory takes no command.
        trace: seed of the stalls.
    """

    build: Build
    layer: IntegerLayer
    tiling: LayerTiling
    inputs: Whole
    dram_latency: int
    write_latency: int
    stalls: int
    trace: int


def random_case(generator: np.random.Generator, builds: Sequence[Build] = BUILDS) -> Case:
    """The next random case of a generator."""
    while True:
        case = _case(lambda low, high: int(generator.integers(low, high + 1)), builds)
        if case is not None:
            return case


def random_cases(
    seed: int, numbers: Iterable[int], builds: Sequence[Build] = BUILDS
) -> Iterator[Case]:
    """Cases of a seed, each by its number, so that one can be repeated alone."""
    for number in numbers:
        yield random_case(np.random.default_rng([seed, number]), builds)


@st.composite
def cases(draw: st.DrawFn, builds: Sequence[Build] = BUILDS) -> Case:
    """Random cases; they shrink to few and small numbers."""
    case = _case(lambda low, high: draw(st.integers(low, high)), builds)
    assume(case is not None)
    assert case is not None
    return case


def _case(pick: Pick, builds: Sequence[Build]) -> Case | None:
    """A case; None where it does not fit into the build, or takes too long."""
    build = _one(pick, builds)
    layer, inputs = _layer(pick, build)
    tiling = _tiling(pick, layer, build)
    dram_latency, write_latency = pick(1, _one(pick, (8, 40, 200))), pick(1, 200)
    case = Case(
        build=build,
        layer=layer,
        tiling=tiling,
        inputs=inputs,
        dram_latency=dram_latency,
        write_latency=write_latency,
        stalls=_one(pick, (0, 10, 50)),
        trace=pick(0, 2**32 - 1),
    )
    check_layer(layer)
    try:
        configuration = configure(layer, tiling, build)
        configuration.words()
    except InfeasibleError:
        return None
    hardware = build.hardware(dram_latency, write_latency)
    return case if layer_cycles(configuration, hardware) <= CYCLES_MOST else None


def _layer(pick: Pick, build: Build) -> tuple[IntegerLayer, Whole]:
    """A layer, and an input of it."""
    form = _one(pick, ("fused", "pool", "none"))
    axes = [_axis(pick, form) for _ in range(2)]
    taps, strides, windows, pool_strides, pads, sizes = (list(z) for z in zip(*axes, strict=True))
    filters = pick(1, _one(pick, (8, 2 * build.slices, 100)))
    channels = pick(*_one(pick, ((1, 8), (1, 40), (1, 64), (60, 200))))
    generator = np.random.default_rng(pick(0, 2**32 - 1))
    signed = bool(pick(0, 1))
    least, most = (-128, 127) if signed else (0, 255)
    shape = channels, *sizes
    weights = _codes(pick, generator, (filters, channels, *taps), -128, 127)
    inputs = _codes(pick, generator, shape, least, most)
    inputs_a_sum = int(np.prod(windows))
    bound = np.abs(weights).sum(axis=(1, 2, 3)) * inputs_a_sum * max(-least, most)
    spread = float(np.sqrt(channels * np.prod(taps)) * inputs_a_sum * weights.std() * inputs.std())
    significand, shift = _scale(pick, generator, filters, spread)
    low, high, zero = _outputs(pick)
    return IntegerLayer(
        name=form,
        weights=weights,
        bias=_bias(pick, generator, bound, spread),
        significand=significand,
        shift=shift,
        shape=shape,
        strides=tuple(strides),
        pads=(*pads[0], *pads[1]),
        window=tuple(windows),
        pool_strides=tuple(pool_strides),
        fused=form == "fused",
        signed=signed,
        pad_value=pick(least, most),
        zero=zero,
        low=low,
        high=high,
    ), inputs


def _axis(pick: Pick, form: str) -> tuple[int, int, int, int, tuple[int, int], int]:
    """Taps, stride, window, stride of the pool, pads and size of the input along an axis."""
    taps = pick(1, 5)
    stride = 1 if form == "fused" else pick(1, 3)
    window = {"fused": 2, "pool": pick(1, 3), "none": 1}[form]
    pool_stride = 1 if form == "none" else pick(1, 3)
    convolved = (pick(1, 9) - 1) * pool_stride + window + pick(0, pool_stride - 1)
    padded = (convolved - 1) * stride + taps + pick(0, stride - 1)
    before = pick(0, min(3, padded - 1))
    behind = pick(0, min(3, padded - 1 - before))
    return taps, stride, window, pool_stride, (before, behind), padded - before - behind


def _tiling(pick: Pick, layer: IntegerLayer, build: Build) -> LayerTiling:
    """Any tiling of a layer; it may not fit."""
    filters, channels, *_ = layer.weights.shape
    ways = 1 << pick(0, build.ways.bit_length() - 1)
    return LayerTiling(
        lines=pick(1, layer.outputs[0]),
        line=pick(1, layer.outputs[1]),
        filters=_part(pick, filters, build.slices // ways),
        channels=_part(pick, channels, build.lanes),
        ways=ways,
        weights_outer=bool(pick(0, 1)),
    )


def _part(pick: Pick, size: int, multiple: int) -> int:
    """All of a size, or a smaller multiple of a number."""
    parts = (size - 1) // multiple
    part = pick(0, parts)
    return multiple * part or size


def _codes(
    pick: Pick, generator: np.random.Generator, shape: tuple[int, ...], least: int, most: int
) -> Whole:
    """Codes of a range: all of them, near 0, or its two ends."""
    kind = pick(0, 5)
    if kind == 0:
        return generator.choice([least, most], shape)
    if kind == 1:
        return generator.integers(max(least, -2), 3, shape)
    return generator.integers(least, most + 1, shape)


def _scale(
    pick: Pick, generator: np.random.Generator, filters: int, spread: float
) -> tuple[Whole, Whole]:
    """Significands and shifts that bring sums of some spread to codes."""
    bits = int(np.ceil(np.log2(max(spread, 1.0)))) - pick(4, 8)
    kind = pick(0, 3)
    if kind == 0:  # anything: outputs that saturate, or are all 0
        return generator.integers(0, 2**24, filters), generator.integers(0, 64, filters)
    if kind == 1:  # many halves
        significand, shift = 2 * generator.integers(0, 2, filters) + 1, max(bits + 1, 1)
    else:
        significand, shift = generator.integers(2**23, 2**24, filters), max(bits + 24, 0)
    return significand, np.clip(shift + generator.integers(-1, 2, filters), 0, 63)


def _bias(pick: Pick, generator: np.random.Generator, bound: Whole, spread: float) -> Whole:
    """Biases of the size of the sums, or as large as 32 bits allow."""
    most = 2**31 - 1 - bound
    if pick(0, 5) == 0:
        return most * generator.choice([-1, 1], len(bound))
    return np.clip(np.rint(generator.normal(0, spread + 1, len(bound))).astype(int), -most, most)


def _outputs(pick: Pick) -> tuple[int, int, int]:
    """The least and largest code of an output, and the one of 0."""
    return _one(
        pick,
        (
            (-128, 127, pick(-128, 127)),
            (-128, 127, 0),
            (0, 127, 0),
            (0, 255, pick(0, 255)),
            (0, 255, 0),
            (pick(-128, -1), pick(0, 127), 0),
        ),
    )


def _one(pick: Pick, choices: Sequence[T]) -> T:
    """One of some choices."""
    return choices[pick(0, len(choices) - 1)]
