"""What the hardware is told: the configurations of layers, and the memory that they stand in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.array.steps import CONFIGURATION_BEATS
from mlcnn.errors import InputError
from mlcnn.rtl.build import Build
from mlcnn.rtl.configuration import WORDS, Configuration
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.memory import (
    BEAT_BYTES,
    GROUP_CHANNELS,
    PARAMETER_BYTES,
    Bytes,
    activation_beats,
    pack_activations,
    pack_parameters,
    pack_weights,
    pack_words,
    unpack_activations,
)
from mlcnn.rtl.tiling import LayerTiling, check_layer, check_tiling, extent, stored, tile_steps

__all__ = ["Bases", "Program", "configure", "write_program"]

_ONE_WAY_ROWS: Final = 65535
"""More rows than a tile has: those of the only way."""
_ALIGNED_BEATS: Final = 64
"""Of which every base is a multiple: 4 KiB."""
_SIGNED_MOST: Final = 127
_RUN: Final = 1
_END: Final = 2


@dataclass(frozen=True, slots=True)
class Bases:
    """Where a layer's operands begin, in beats.

    Attributes:
        input: of the layer.
        weights: of the layer.
        output: of the layer.
        parameters: bias and scale.
    """

    input: int = 0
    weights: int = 0
    output: int = 0
    parameters: int = 0


def configure(
    layer: IntegerLayer, tiling: LayerTiling, build: Build, bases: Bases = Bases()
) -> Configuration:
    """The configuration of a layer.

    Args:
        layer: what to run.
        tiling: how it is cut.
        build: what is built.
        bases: where its operands begin; all at 0 where none are given, which does for timing.

    Raises:
        InputError: the tiling is no tiling of this layer.
        InfeasibleError: a tile does not fit into what is built.
    """
    check_tiling(tiling, layer, build)
    _, height, width = layer.shape
    filters, channels, *taps = layer.weights.shape
    down, along = layer.outputs
    step_rows, step_columns = tile_steps(layer)
    row_tiles, last_lines = _cut(down, tiling.lines)
    column_tiles, last_line = _cut(along, tiling.line)
    output_tiles, last_filters = _cut(filters, tiling.filters)
    chunks, last_channels = _cut(channels, tiling.channels)
    rows, columns = extent(layer, tiling.lines, tiling.line)
    last_rows, last_columns = extent(layer, last_lines, last_line)
    buffer_rows, buffer_row = stored(layer, tiling.lines, tiling.line)
    side = build.slices // tiling.ways
    way_lines, last_way_lines = (-(-n // tiling.ways) for n in (tiling.lines, last_lines))
    several = tiling.ways > 1
    window_rows, window_columns = (1, 1) if layer.fused else layer.window
    return Configuration(
        opcode=_RUN,
        fused=int(layer.fused),
        weights_outer=int(tiling.weights_outer),
        signed=int(layer.signed),
        ways_log2=tiling.ways.bit_length() - 1,
        input_base=bases.input,
        weight_base=bases.weights,
        output_base=bases.output,
        parameter_base=bases.parameters,
        input_row=width,
        input_block=height * width,
        parameter_beats=_up(filters, BEAT_BYTES // PARAMETER_BYTES),
        output_row=along,
        output_block=down * along,
        buffer_row=buffer_row,
        buffer_block=buffer_rows * buffer_row,
        kernel_rows=taps[0],
        kernel_columns=taps[1],
        step_rows=step_rows,
        step_columns=step_columns,
        stride_rows=layer.strides[0],
        stride_columns=layer.strides[1],
        window_rows=window_rows,
        window_columns=window_columns,
        lines=tiling.lines,
        line=tiling.line,
        last_lines=last_lines,
        last_line=last_line,
        rows=rows,
        columns=columns,
        last_rows=last_rows,
        last_columns=last_columns,
        blocks=_up(tiling.channels, BEAT_BYTES),
        groups=_up(tiling.channels, GROUP_CHANNELS),
        last_blocks=_up(last_channels, BEAT_BYTES),
        last_groups=_up(last_channels, GROUP_CHANNELS),
        turns=_up(tiling.filters, side),
        fill=_fill(tiling.filters, side),
        last_turns=_up(last_filters, side),
        last_fill=_fill(last_filters, side),
        turn_filters=side,
        end_filters=_cut(tiling.filters, side)[1],
        last_end_filters=_cut(last_filters, side)[1],
        way_lines=way_lines,
        last_way_lines=last_way_lines,
        output_tiles=output_tiles,
        chunks=chunks,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        tile_rows=tiling.lines * step_rows,
        tile_columns=tiling.line * step_columns,
        image_rows=height,
        image_columns=width,
        pad_rows=layer.pads[0],
        pad_columns=layer.pads[2],
        low=layer.low,
        high=layer.high,
        pad_value=layer.pad_value & 0xFF,
        zero=layer.zero,
        tile_filters=tiling.filters,
        way_rows=way_lines * step_rows if several else _ONE_WAY_ROWS,
        last_way_rows=last_way_lines * step_rows if several else _ONE_WAY_ROWS,
        line_step=step_rows * buffer_row,
        way_step=way_lines * step_rows * buffer_row if several else 0,
        last_way_step=last_way_lines * step_rows * buffer_row if several else 0,
        phase_step=layer.strides[0] * buffer_row,
    )


def write_program(
    layers: Sequence[IntegerLayer],
    tilings: Sequence[LayerTiling],
    build: Build,
    reads: Sequence[int | None] | None = None,
) -> "Program":
    """A program that runs layers one after the other.

    Args:
        layers: what to run.
        tilings: how each is cut.
        build: what is built.
        reads: for each layer, the number of the layer whose output it reads, or None where the
            host writes its input; None for the first layer, and the layer before for each other,
            where none are given.

    Raises:
        InputError: a tiling is none of its layer, or a layer does not match what it reads.
        UnsupportedError: the hardware cannot run a layer.
        InfeasibleError: a layer, or a tile of it, is too large for the hardware.
    """
    sources = [*([None] if layers else []), *range(len(layers) - 1)] if reads is None else reads
    for number, layer in enumerate(layers):
        check_layer(layer)
        check_tiling(tilings[number], layer, build)
        _check_source(layers, number, sources[number])
    places = _Places()
    program_base = places.take(CONFIGURATION_BEATS * (len(layers) + 1))
    configurations: list[Configuration] = []
    parts: list[tuple[int, Bytes]] = []
    for layer, tiling, source in zip(layers, tilings, sources, strict=True):
        side = build.slices // tiling.ways
        weights = pack_weights(layer.weights, tiling.filters, tiling.channels, side)
        parameters = pack_parameters(layer.bias, layer.significand, layer.shift)
        bases = Bases(
            input=places.take(activation_beats(*layer.shape))
            if source is None
            else configurations[source].output_base,
            weights=places.take(len(weights)),
            output=places.take(activation_beats(*_output_shape(layer))),
            parameters=places.take(len(parameters)),
        )
        configurations.append(configure(layer, tiling, build, bases))
        parts += [(bases.weights, weights), (bases.parameters, parameters)]
    words = [*(found.words() for found in configurations), _end_words()]
    parts.append((program_base, pack_words(np.concatenate(words))))
    return Program(
        build=build,
        layers=tuple(layers),
        configurations=tuple(configurations),
        program_base=program_base,
        image=_image(places.beats, parts),
    )


@dataclass(frozen=True, slots=True)
class Program:
    """Layers, and the memory that they run in.

    Attributes:
        build: what it was written for.
        layers: in the order in which they run.
        configurations: of each.
        program_base: beat in which the first configuration begins; two beats each, and one behind
            the last whose opcode is 2.
        image: of the memory: program, weights, bias and scale; 0 where activations will stand;
            shape (beats, 64).
    """

    build: Build
    layers: tuple[IntegerLayer, ...]
    configurations: tuple[Configuration, ...]
    program_base: int
    image: Bytes

    def write_input(self, memory: Bytes, number: int, codes: NDArray[np.int64]) -> None:
        """Writes a layer's input into memory.

        Args:
            memory: that changes; ``image`` or a copy of it.
            number: of the layer.
            codes: shape (C, H, W).
        """
        layer = self.layers[number]
        if codes.shape != layer.shape:
            raise InputError(
                f"layer {layer.name}: an input of shape {codes.shape}: it takes {layer.shape}"
            )
        beats = pack_activations(codes)
        base = self.configurations[number].input_base
        memory[base : base + len(beats)] = beats

    def read_output(self, memory: Bytes, number: int) -> NDArray[np.int64]:
        """A layer's output in memory: codes, shape (K, P, Q).

        Args:
            memory: after the run.
            number: of the layer.
        """
        layer = self.layers[number]
        base = self.configurations[number].output_base
        return unpack_activations(memory[base:], _output_shape(layer), signed=layer.low < 0)


class _Places:
    """Memory that is given away piece by piece."""

    def __init__(self) -> None:
        self.beats = 0

    def take(self, beats: int) -> int:
        """The base of so many beats."""
        base = self.beats
        self.beats += _up(beats, _ALIGNED_BEATS) * _ALIGNED_BEATS
        return base


def _image(beats: int, parts: Iterable[tuple[int, Bytes]]) -> Bytes:
    """Memory with parts at their bases."""
    image = np.zeros((beats, BEAT_BYTES), np.uint8)
    for base, part in parts:
        image[base : base + len(part)] = part
    return image


def _check_source(layers: Sequence[IntegerLayer], number: int, source: int | None) -> None:
    """Whether a layer can read what another writes."""
    if source is None:
        return
    layer = layers[number]
    if not 0 <= source < number:
        raise InputError(
            f"layer {layer.name}: it reads the output of layer number {source} and is number "
            f"{number} itself: it has to come later"
        )
    other = layers[source]
    if _output_shape(other) != layer.shape:
        raise InputError(
            f"layer {layer.name}: it takes an input of shape {layer.shape} and reads that of "
            f"{other.name}, {_output_shape(other)}: let the host copy in between"
        )
    if (other.low < 0 and not layer.signed) or (other.high > _SIGNED_MOST and layer.signed):
        raise InputError(
            f"layer {layer.name}: it takes {'signed' if layer.signed else 'unsigned'} codes and "
            f"reads {other.low} to {other.high} of {other.name}: both have to have one sign"
        )


def _output_shape(layer: IntegerLayer) -> tuple[int, int, int]:
    """Shape of a layer's output: (K, P, Q)."""
    return (len(layer.weights), *layer.outputs)


def _end_words() -> NDArray[np.uint32]:
    """The words behind the last layer."""
    words = np.zeros(WORDS, np.uint32)
    words[0] = _END
    return words


def _fill(filters: int, side: int) -> int:
    """Beats that fill the slices of a way with one set of weights."""
    return _up(min(side, filters), BEAT_BYTES // GROUP_CHANNELS)


def _cut(size: int, part: int) -> tuple[int, int]:
    """How many parts a size has, and what is left for the last."""
    count = _up(size, part)
    return count, size - (count - 1) * part


def _up(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)
