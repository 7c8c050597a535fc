"""Latency, energy and fit from counts, on machines small enough to reckon by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.codesign import (
    Architecture,
    Batch,
    EnergyLaw,
    FanOut,
    Level,
    Mapping,
    Operand,
    fits,
    load_architecture,
    score,
)
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_ALL = tuple(Operand)
_NEST = loop_nest(ConvLayer("dense", 1, 4, 6, 1, 1, 1, 1))
_DRAM = Level("dram", _ALL, 8, energy=EnergyLaw(100.0))
_BUFFER = Level("buffer", _ALL, 8, 64, EnergyLaw(2.0), EnergyLaw(3.0))


def _machine(dram=_DRAM, buffer=_BUFFER):
    return Architecture("two", (dram, buffer), 1.0)


def _batch(*texts, nest=_NEST):
    return Batch.of([Mapping.parse(text) for text in texts], nest)


_TEXT = "[WIO] - [WIO] K4 C6"


def test_energy_is_words_times_their_energies():
    scored = score(_NEST, _machine(), _batch(_TEXT))
    # DRAM: 24 weights and 6 inputs read, 4 outputs written. Buffer: 24 weights, 6 inputs and 4
    # outputs filled, 24 sums updated; 24 weights, 24 inputs and 20 sums read. 24 products.
    assert scored.energy_pj[0] == 34 * 100 + 58 * 3 + 68 * 2 + 24
    assert scored.latency_cycles[0] == 24
    assert scored.edp[0] == scored.energy_pj[0] * 24


def test_words_are_rounded_up_to_blocks_per_operand_and_direction():
    dram = replace(_DRAM, block_words=16)
    scored = score(_NEST, _machine(dram), _batch(_TEXT))
    # 24 -> 32 weights, 6 -> 16 inputs, 4 -> 16 outputs.
    assert scored.energy_pj[0] == 64 * 100 + 58 * 3 + 68 * 2 + 24


@pytest.mark.parametrize(
    ("bounds", "cycles"),
    [
        ({"read_bandwidth": 30 / 24}, 24),
        ({"read_bandwidth": 0.5}, 60),
        ({"write_bandwidth": 0.125}, 32),
        ({"shared_bandwidth": 1}, 34),
        ({"read_bandwidth": 0.5, "write_bandwidth": 0.03125}, 128),
    ],
)
def test_a_bandwidth_slows_the_whole(bounds, cycles):
    # 30 words are read and 4 written in 24 cycles.
    assert score(_NEST, _machine(replace(_DRAM, **bounds)), _batch(_TEXT)).latency_cycles[0] == (
        cycles
    )


@given(st.floats(0.05, 50), st.floats(0.05, 50))
def test_more_bandwidth_never_slows(one, other):
    slow, fast = sorted((one, other))
    cycles = [
        score(
            _NEST, _machine(replace(_DRAM, shared_bandwidth=bound)), _batch(_TEXT)
        ).latency_cycles[0]
        for bound in (slow, fast)
    ]
    assert cycles[0] >= cycles[1] >= 24


@pytest.mark.parametrize(
    ("capacity", "fitting"),
    [(34, True), (33, False), ({Operand.WEIGHT: 24, Operand.INPUT: 6, Operand.OUTPUT: 4}, True),
     ({Operand.WEIGHT: 24, Operand.INPUT: 5, Operand.OUTPUT: 9}, False),
     ({Operand.WEIGHT: 24, Operand.INPUT: 6}, False), (None, True)],
)  # fmt: skip
def test_a_tile_fits_its_capacity(capacity, fitting):
    machine = _machine(buffer=replace(_BUFFER, capacity=capacity))
    assert fits(_NEST, machine, _batch(_TEXT))[0] == fitting


def test_what_passes_by_takes_no_room():
    machine = _machine(buffer=replace(_BUFFER, capacity=24))
    assert fits(_NEST, machine, _batch("[WIO] - [W] K4 C6"))[0]


@pytest.mark.parametrize(
    ("fan_out", "fitting"),
    [(FanOut(8), True), (FanOut(7), False), (FanOut(8, ("K",)), False),
     (FanOut(8, ("K", "C")), True)],
)  # fmt: skip
def test_spatial_loops_fit_their_fan_out(fan_out, fitting):
    machine = _machine(replace(_DRAM, fan_out=fan_out))
    assert fits(_NEST, machine, _batch("[WIO] K4X C2X - [WIO] C3"))[0] == fitting


def test_mappings_are_scored_alone_as_together():
    machine = load_architecture("gemmini")
    nest = loop_nest(ConvLayer("c", 2, 8, 6, 9, 9, 3, 3, strides=(2, 2)))
    texts = [
        "[WIO] N2 P2 - [WI] K8X - [O] C2 P2 Q4 R3 S3 C3X - [W]",
        "[WIO] P4 R3 S3 K2 - [WI] K4X - [O] C6 Q4 - [W] N2",
        "[WIO] S3 P2 C6 - [WI] Q2 K8X - [O] N2 Q2 R3 - [W] P2",
    ]
    together = score(nest, machine, _batch(*texts, nest=nest))
    for number, text in enumerate(texts):
        alone = score(nest, machine, _batch(text, nest=nest))
        assert alone.energy_pj[0] == together.energy_pj[number]
        assert alone.latency_cycles[0] == together.latency_cycles[number]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[WIO] K4 C6", "architecture two has 2 levels and the mappings have 1"),
        (
            "[WIO] - [WIO] K4 C6",
            "level buffer of two keeps weight, and the mappings keep input there",
        ),
    ],
)
def test_mappings_of_another_machine_are_told(text, message):
    machine = _machine(buffer=replace(_BUFFER, keeps=(Operand.WEIGHT,)))
    with pytest.raises(InputError) as told:
        score(_NEST, machine, _batch(text))
    assert str(told.value) == message
