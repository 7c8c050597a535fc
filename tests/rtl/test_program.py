"""What the hardware is told."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtl.layers import Case, cases, random_case, random_cases

from mlcnn.errors import InfeasibleError, InputError
from mlcnn.rtl.build import Build
from mlcnn.rtl.configuration import FIELDS, Configuration
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.memory import pack_parameters, pack_weights
from mlcnn.rtl.program import configure, write_program
from mlcnn.rtl.tiling import LayerTiling
from mlcnn.rtl.timing import tiles


def _layer(name: str, filters: int, shape: tuple[int, int, int], **options: Any) -> IntegerLayer:
    return IntegerLayer(
        name=name,
        weights=np.ones((filters, shape[0], 1, 1), np.int64),
        bias=np.arange(filters),
        significand=np.ones(filters, np.int64),
        shift=np.zeros(filters, np.int64),
        shape=shape,
        **options,
    )


@given(case=cases())
def test_words_come_back(case: Case) -> None:
    configuration = configure(case.layer, case.tiling, case.build)
    words = configuration.words()
    assert words.shape == (32,)
    assert Configuration.of(words) == configuration


def test_no_two_numbers_of_a_configuration_share_a_bit() -> None:
    taken = [
        (place.word, place.low + bit) for place in FIELDS.values() for bit in range(place.bits)
    ]
    assert len(set(taken)) == len(taken)
    assert max(bit for _, bit in taken) < 32


def test_number_without_a_place_is_refused() -> None:
    configuration = configure(_layer("conv", 1, (1, 1, 1)), LayerTiling(1, 1, 1, 1), Build())
    with pytest.raises(InfeasibleError) as refused:
        replace(configuration, turns=256).words()
    assert str(refused.value) == (
        "turns of a layer is 256 and the hardware takes 0 to 255: cut the layer into smaller tiles"
    )


def test_codes_and_pads_of_a_layer_written_out() -> None:
    layer = _layer(
        "conv", 3, (1, 2, 2), pads=(1, 2, 3, 4), pad_value=-3, zero=-7, low=-128, high=100
    )
    found = configure(layer, LayerTiling(5, 9, 3, 1), Build())
    assert (found.pad_rows, found.pad_columns) == (1, 3)
    assert (found.pad_value, found.zero, found.low, found.high) == (253, -7, -128, 100)
    assert (found.signed, found.fused, found.opcode) == (1, 0, 1)
    assert (found.turns, found.turn_filters, found.end_filters, found.fill) == (1, 16, 3, 1)
    assert (found.way_rows, found.last_way_rows, found.way_step) == (65535, 65535, 0)


@given(case=cases())
def test_tiles_cover_every_output_once(case: Case) -> None:
    configuration = configure(case.layer, case.tiling, case.build)
    seen = np.zeros((len(case.layer.weights), *case.layer.outputs), int)
    for tile in tiles(configuration):
        seen[
            tile.first_filter : tile.first_filter + tile.filters,
            tile.first_line : tile.first_line + tile.lines,
            tile.first_column : tile.first_column + tile.line,
        ] += 1
    assert (seen == 1).all()
    inner = [(tile.first_line, tile.first_column) for tile in tiles(configuration)]
    outer = [tile.first_filter for tile in tiles(configuration)]
    assert (outer == sorted(outer)) if case.tiling.weights_outer else (inner == sorted(inner))


@given(case=cases())
def test_extent_of_a_tile_is_what_its_outputs_need(case: Case) -> None:
    layer = case.layer
    for tile in tiles(configure(layer, case.tiling, case.build)):
        for axis, first, count, start, inputs in (
            (0, tile.first_line, tile.lines, tile.first_row, tile.rows),
            (1, tile.first_column, tile.line, tile.first_input_column, tile.columns),
        ):
            taps, pad = layer.weights.shape[2 + axis], layer.pads[2 * axis]
            needed = {
                (output * layer.pool_strides[axis] + phase) * layer.strides[axis] + tap - pad
                for output in range(first, first + count)
                for phase in range(layer.window[axis])
                for tap in range(taps)
            }
            assert (min(needed), max(needed)) == (start, start + inputs - 1)
            assert max(needed) < layer.shape[1 + axis] + layer.pads[2 * axis + 1]


@given(case=cases())
def test_chunks_cover_every_channel_once(case: Case) -> None:
    c = configure(case.layer, case.tiling, case.build)
    channels = case.layer.shape[0]
    assert (c.chunks - 1) * c.groups + c.last_groups == -(-channels // 8)
    assert (c.chunks - 1) * c.blocks + c.last_blocks == -(-channels // 64)
    assert c.chunks == 1 or c.groups == 8 * c.blocks
    weights = pack_weights(
        case.layer.weights, case.tiling.filters, case.tiling.channels, c.turn_filters
    )
    tile_beats = (c.output_tiles - 1) * c.turns * c.fill + c.last_turns * c.last_fill
    taps = c.kernel_rows * c.kernel_columns
    assert len(weights) == -(-channels // 8) * taps * tile_beats


@pytest.mark.parametrize("number", range(200))
def test_buffer_is_read_where_the_inputs_of_an_output_stand(number: int) -> None:
    [case] = random_cases(0, [number])
    layer, ways = case.layer, case.tiling.ways
    c = configure(layer, case.tiling, case.build)
    window = (1, 1) if layer.fused else layer.window
    for last in (False, True):
        lines, way_lines, way_step, way_rows = (
            (c.last_lines, c.last_way_lines, c.last_way_step, c.last_way_rows)
            if last
            else (c.lines, c.way_lines, c.way_step, c.way_rows)
        )
        assert ways * way_lines >= lines
        for output, phase, tap in product(range(lines), range(window[0]), range(c.kernel_rows)):
            way, line = divmod(output, way_lines)
            row = (output * layer.pool_strides[0] + phase) * layer.strides[0] + tap
            word = way * way_step + line * c.line_step + phase * c.phase_step + tap * c.buffer_row
            assert word == row * c.buffer_row
            assert word < c.buffer_block
            if phase == tap == 0:
                assert row // way_rows == way
        column = max(
            output * c.step_columns + phase * c.stride_columns + tap
            for output in range(c.line)
            for phase in range(window[1])
            for tap in range(c.kernel_columns)
        )
        assert column == c.buffer_row - 1
    assert c.blocks * c.buffer_block <= case.build.positions


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_memory_of_a_program_holds_each_operand_at_its_base(seed: int) -> None:
    generator = np.random.default_rng(seed)
    build = Build()
    drawn = [random_case(generator, [build]) for _ in range(3)]
    layers = [case.layer for case in drawn]
    program = write_program(layers, [case.tiling for case in drawn], build, [None] * 3)
    taken = np.zeros(len(program.image), int)
    taken[program.program_base :][:8] += 1
    for number, (case, c) in enumerate(zip(drawn, program.configurations, strict=True)):
        layer = case.layer
        words = program.image[program.program_base + 2 * number :][:2].view("<u4").reshape(-1)
        assert Configuration.of(words) == c
        side = build.slices // case.tiling.ways
        weights = pack_weights(layer.weights, case.tiling.filters, case.tiling.channels, side)
        parameters = pack_parameters(layer.bias, layer.significand, layer.shift)
        assert len(parameters) == c.parameter_beats
        for base, beats in ((c.weight_base, weights), (c.parameter_base, parameters)):
            assert np.array_equal(program.image[base : base + len(beats)], beats)
            taken[base : base + len(beats)] += 1
        channels, rows, columns = layer.shape
        taken[c.input_base :][: -(-channels // 64) * rows * columns] += 1
        rows, columns = layer.outputs
        taken[c.output_base :][: -(-len(layer.weights) // 64) * rows * columns] += 1
        bases = c.input_base, c.weight_base, c.output_base, c.parameter_base, program.program_base
        assert all(base % 64 == 0 for base in bases)
    end = program.image[program.program_base + 6 :][:2].view("<u4").reshape(-1)
    assert end.tolist() == [2, *[0] * 31]
    assert taken.max() == 1


def test_inputs_and_outputs_stand_at_their_strides() -> None:
    layer = _layer("conv", 70, (3, 4, 5), strides=(1, 2), low=-5)
    program = write_program([layer], [LayerTiling(4, 3, 70, 3)], Build())
    c = program.configurations[0]
    memory = np.full_like(program.image, 7)
    codes = np.random.default_rng(0).integers(-128, 128, layer.shape)
    program.write_input(memory, 0, codes)
    for channel, row, column in product(range(3), range(4), range(5)):
        byte = memory[c.input_base + row * c.input_row + column, channel]
        assert byte == codes[channel, row, column] % 256
    outputs = np.random.default_rng(1).integers(-128, 128, (70, 4, 3))
    for channel, row, column in product(range(70), range(4), range(3)):
        beat = c.output_base + channel // 64 * c.output_block + row * c.output_row + column
        memory[beat, channel % 64] = outputs[channel, row, column] % 256
    assert np.array_equal(program.read_output(memory, 0), outputs)


def test_each_layer_reads_what_the_one_before_wrote() -> None:
    layers = [_layer("a", 5, (3, 4, 4)), _layer("b", 2, (5, 4, 4)), _layer("c", 7, (5, 4, 4))]
    sizes = [LayerTiling(2, 2, len(layer.weights), layer.shape[0]) for layer in layers]
    first, second = write_program(layers[:2], sizes[:2], Build()).configurations
    assert second.input_base == first.output_base
    assert (second.input_row, second.input_block) == (first.output_row, first.output_block)
    _, _, third = write_program(layers, sizes, Build(), [None, 0, 0]).configurations
    assert third.input_base == first.output_base


@pytest.mark.parametrize(
    ("layers", "reads", "message"),
    [
        (
            [_layer("a", 5, (3, 4, 4)), _layer("b", 2, (4, 4, 4))],
            None,
            (
                "layer b: it takes an input of shape (4, 4, 4) and reads that of a, (5, 4, 4): let "
                "the host copy in between"
            ),
        ),
        (
            [_layer("a", 5, (3, 4, 4)), _layer("b", 2, (5, 4, 4), signed=False)],
            None,
            (
                "layer b: it takes unsigned codes and reads -128 to 127 of a: both have to have "
                "one sign"
            ),
        ),
        (
            [_layer("a", 5, (3, 4, 4), low=0, high=255), _layer("b", 2, (5, 4, 4))],
            None,
            "layer b: it takes signed codes and reads 0 to 255 of a: both have to have one sign",
        ),
        (
            [_layer("a", 5, (3, 4, 4)), _layer("b", 2, (5, 4, 4))],
            [1, None],
            (
                "layer a: it reads the output of layer number 1 and is number 0 itself: it has to "
                "come later"
            ),
        ),
    ],
)
def test_layers_that_do_not_match_are_refused(
    layers: list[IntegerLayer], reads: list[int | None] | None, message: str
) -> None:
    sizes = [LayerTiling(1, 1, len(layer.weights), layer.shape[0]) for layer in layers]
    with pytest.raises(InputError) as refused:
        write_program(layers, sizes, Build(), reads)
    assert str(refused.value) == message


def test_input_of_another_shape_is_refused() -> None:
    program = write_program([_layer("a", 5, (3, 4, 4))], [LayerTiling(4, 4, 5, 3)], Build())
    with pytest.raises(InputError) as refused:
        program.write_input(program.image, 0, np.zeros((3, 4, 5), np.int64))
    assert str(refused.value) == "layer a: an input of shape (3, 4, 5): it takes (3, 4, 4)"
