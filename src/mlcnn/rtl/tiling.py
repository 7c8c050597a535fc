"""How the hardware cuts a layer into tiles, and what of it fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.errors import InfeasibleError, InputError, UnsupportedError
from mlcnn.rtl.build import Build
from mlcnn.rtl.layer import SHIFT_MOST, SIGNIFICAND_BITS, IntegerLayer
from mlcnn.rtl.memory import BEAT_BYTES, GROUP_CHANNELS

__all__ = ["LayerTiling", "check_layer", "check_tiling", "extent", "stored", "tile_steps"]

_KERNEL_MOST = 15
_STEP_MOST = 63
_IMAGE_MOST = 4095
_SUM_MOST = 2**31 - 1
_SIGNED = -128, 127
_UNSIGNED = 0, 255


@dataclass(frozen=True, slots=True)
class LayerTiling:
    """A tile of a layer's outputs, and the order of tiles.

    Attributes:
        lines: of final outputs.
        line: final outputs of a line.
        filters: output channels; a multiple of slices / ways, or all of the layer.
        channels: input channels of a chunk; a multiple of 64, or all of the layer.
        ways: positions that different slices work on at a time; a power of two.
        weights_outer: whether output channels are the outer loop, and positions the inner one.
    """

    lines: int
    line: int
    filters: int
    channels: int
    ways: int = 1
    weights_outer: bool = False


def tile_steps(layer: IntegerLayer) -> tuple[int, int]:
    """Inputs, down and along, from one final output to the next."""
    down, along = (
        pool * stride for pool, stride in zip(layer.pool_strides, layer.strides, strict=True)
    )
    return down, along


def extent(layer: IntegerLayer, lines: int, line: int) -> tuple[int, int]:
    """Inputs that a tile of final outputs needs, with their padding, down and along."""
    down, along = (
        ((outputs - 1) * pool + window - 1) * stride + taps
        for outputs, pool, window, stride, taps in zip(
            (lines, line),
            layer.pool_strides,
            layer.window,
            layer.strides,
            layer.weights.shape[2:],
            strict=True,
        )
    )
    return down, along


def stored(layer: IntegerLayer, lines: int, line: int) -> tuple[int, int]:
    """Words of the input buffer that a tile takes in a block of channels, down and along.

    In a fused layer each is the sum of a window of 2x2, and so there is one less than inputs.
    """
    rows, columns = extent(layer, lines, line)
    return rows - layer.fused, columns - layer.fused


def check_layer(layer: IntegerLayer) -> None:
    """Whether the hardware can run a layer, whatever the tile.

    Raises:
        UnsupportedError: it cannot; with the reason.
        InputError: it has no outputs, or codes or scales out of range.
        InfeasibleError: a size of it, or a sum, is larger than the hardware takes.
    """
    _, channels, *taps = layer.weights.shape
    if channels != layer.shape[0]:
        raise UnsupportedError(
            f"layer {layer.name}: its weights have {channels} channels and its input has "
            f"{layer.shape[0]}: the hardware takes no groups; run it on the host"
        )
    if layer.fused and (layer.window != (2, 2) or layer.strides != (1, 1)):
        raise UnsupportedError(
            f"layer {layer.name}: fused with a pool window of {_by(layer.window)} and convolution "
            f"strides of {_by(layer.strides)}: the input unit sums windows of 2x2 at stride 1; do "
            "not fuse it"
        )
    if min(layer.outputs) < 1:
        raise InputError(
            f"layer {layer.name}: a kernel of {_by(taps)} and a pool window of "
            f"{_by(layer.window)} do not fit into an input of {_by(layer.shape[1:])} with pads "
            f"{layer.pads}: it has no outputs"
        )
    for what, sizes, most in (
        ("kernel", taps, _KERNEL_MOST),
        ("pool window", layer.window, _KERNEL_MOST),
        ("convolution strides", layer.strides, _KERNEL_MOST),
        ("pads", layer.pads[::2], _KERNEL_MOST),
        ("strides of convolution and pool together", tile_steps(layer), _STEP_MOST),
        ("input", layer.shape[1:], _IMAGE_MOST),
    ):
        if max(sizes) > most:
            raise InfeasibleError(
                f"layer {layer.name}: {what} of {_by(sizes)}, and the hardware takes {most} at "
                "most: run it on the host"
            )
    _check_codes(layer)
    _check_sums(layer)


def _check_codes(layer: IntegerLayer) -> None:
    """Whether all numbers of a layer have places."""
    outputs = _SIGNED if layer.low < 0 else _UNSIGNED
    for what, numbers, (least, most) in (
        ("weights", layer.weights, _SIGNED),
        ("bias", layer.bias, (-_SUM_MOST - 1, _SUM_MOST)),
        ("significand", layer.significand, (0, (1 << SIGNIFICAND_BITS) - 1)),
        ("shift", layer.shift, (0, SHIFT_MOST)),
        ("pad_value", layer.pad_value, _SIGNED if layer.signed else _UNSIGNED),
        ("zero", layer.zero, outputs),
        ("low", layer.low, outputs),
        ("high", layer.high, (layer.low, outputs[1])),
    ):
        found = int(np.min(numbers)), int(np.max(numbers))
        if found[0] < least or found[1] > most:
            raise InputError(
                f"layer {layer.name}: {what} of {found[0]} to {found[1]}: it has to be of {least} "
                f"to {most}"
            )


def _check_sums(layer: IntegerLayer) -> None:
    """Whether all sums of a layer stay within 32 bits, whatever its input."""
    largest = 128 if layer.signed else 255
    inputs = layer.window[0] * layer.window[1] * largest
    most = abs(layer.weights).sum(axis=(1, 2, 3)) * inputs + abs(layer.bias)
    worst = int(most.argmax())
    if most[worst] > _SUM_MOST:
        raise InfeasibleError(
            f"layer {layer.name}: sums of output channel {worst} can reach {most[worst]} and the "
            f"hardware holds {_SUM_MOST} at most (32 bits): use smaller weight codes, or run it on "
            "the host"
        )


def check_tiling(tiling: LayerTiling, layer: IntegerLayer, build: Build) -> None:
    """Whether a tile of a layer fits into what is built.

    Raises:
        InputError: the tiling is no tiling of this layer on this build.
        InfeasibleError: the tile does not fit; with the demand, the capacity and the lever.
    """
    _check_sizes(tiling, layer, build)
    filters, _, rows, columns = layer.weights.shape
    side = build.slices // tiling.ways
    turns = _up(tiling.filters, side)
    fill = _up(min(side, tiling.filters), BEAT_BYTES // GROUP_CHANNELS)
    blocks = _up(tiling.channels, BEAT_BYTES)
    down, along = stored(layer, tiling.lines, tiling.line)
    weight_beats = _up(tiling.channels, GROUP_CHANNELS) * rows * columns * turns * fill
    tile = f"a tile of {tiling.lines}x{tiling.line} outputs"
    for demand, takes, capacity, lever in (
        (f"{filters} output channels", filters, build.filters, "filters"),
        (
            f"the input of {tile}, {tiling.channels} channels of {down}x{along}",
            blocks * down * along,
            build.positions,
            "positions",
        ),
        (
            f"the weights of {tiling.filters} output and {tiling.channels} input channels",
            weight_beats,
            build.weight_beats,
            "weight_beats",
        ),
        (
            f"{tile} in {tiling.filters} channels over {build.slices} slices",
            turns * _up(tiling.lines, tiling.ways) * tiling.line,
            build.entries,
            "entries",
        ),
        (
            f"a row of {tile}",
            extent(layer, 1, tiling.line)[1] if layer.fused else 0,
            build.row_columns,
            "row_columns",
        ),
    ):
        if takes > capacity:
            raise InfeasibleError(
                f"layer {layer.name}: {demand} takes {takes} {_UNITS[lever]}, and there are "
                f"{capacity}: {_LEVERS[lever]} of the build"
            )


_UNITS = {
    "filters": "places for bias and scale",
    "positions": "words of the input buffer",
    "weight_beats": "beats of the weight buffer",
    "entries": "accumulators of a slice",
    "row_columns": "columns of the row buffer",
}
_LEVERS = {
    "filters": "raise filters",
    "positions": "take a smaller tile or fewer channels, or raise positions",
    "weight_beats": "take fewer channels, or raise weight_beats",
    "entries": "take a smaller tile, or raise entries",
    "row_columns": "take a narrower tile, or raise row_columns",
}


def _check_sizes(tiling: LayerTiling, layer: IntegerLayer, build: Build) -> None:
    """Whether a tiling is one of this layer on this build."""
    filters, channels, *_ = layer.weights.shape
    lines, line = layer.outputs
    ways = tiling.ways
    if not 1 <= ways <= min(build.ways, build.slices) or ways & ways - 1:
        raise InputError(
            f"layer {layer.name}: ways {ways}: it has to be a power of two of 1 to "
            f"{min(build.ways, build.slices)}"
        )
    for what, size, most, multiple in (
        ("lines", tiling.lines, lines, 1),
        ("line", tiling.line, line, 1),
        ("filters", tiling.filters, filters, build.slices // ways),
        ("channels", tiling.channels, channels, build.lanes),
    ):
        if not 1 <= size <= most or (size != most and size % multiple):
            raise InputError(
                f"layer {layer.name}: {what} of a tile {size}: it has to be {most}, or a smaller "
                f"multiple of {multiple}"
            )


def _by(sizes: Sequence[int]) -> str:
    """Sizes as ``2x3``."""
    return "x".join(str(size) for size in sizes)


def _up(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)
