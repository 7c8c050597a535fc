"""A mapping's parts add up to its score, and are what a walk moves."""

import numpy as np
import pytest
from codesign.random_mappings import random_mapping, random_nest
from codesign.test_bounds import random_machine

from mlcnn.codesign import (
    ARITHMETIC,
    CONVENTIONS,
    EXACT,
    Batch,
    Mapping,
    Operand,
    break_down,
    fits,
    load_architecture,
    score,
    scored_mapping,
    walk,
)
from mlcnn.workload import ConvLayer, loop_nest


def random_scored(seed, rule=EXACT, most=128):
    generator = np.random.default_rng(seed)
    nest = random_nest(generator, most)
    machine = random_machine(generator, int(generator.integers(1, 5)))
    masks = [
        tuple(o for o in level.keeps if number == 0 or generator.random() < 0.6)
        for number, level in enumerate(machine.levels)
    ]
    return scored_mapping(nest, machine, random_mapping(generator, nest, masks), rule)


@pytest.mark.parametrize("rule", CONVENTIONS.values(), ids=CONVENTIONS)
def test_parts_add_up_to_the_score(rule):
    for seed in range(80):
        found = random_scored(seed, rule)
        parts = found.breakdown
        assert parts.energy_pj == pytest.approx(found.energy_pj, rel=1e-12)
        assert sum(parts.energies.values()) == pytest.approx(found.energy_pj, rel=1e-12)
        assert parts.latency_cycles == found.latency_cycles
        assert parts.bound.cycles == found.latency_cycles
        if fits(found.nest, found.architecture, found.batch, rule)[0]:
            assert found.utilisation <= 1


def test_words_are_those_of_a_walk():
    for seed in range(80):
        found = random_scored(seed)
        walked = walk(found.nest, found.mapping)
        levels = [level.name for level in found.architecture.levels]
        for one in found.breakdown.moved:
            moved = walked[levels.index(one.level), one.operand]
            assert (one.reads, one.fills, one.updates) == (moved.reads, moved.fills, moved.updates)


def _gemmini(text):
    nest = loop_nest(ConvLayer("conv", 1, 64, 64, 56, 56, 3, 3, pads=(1, 1, 1, 1)))
    return scored_mapping(nest, load_architecture("gemmini"), Mapping.parse(text), EXACT)


def test_what_bounds_by_hand():
    # Every weight comes anew for each product: 115,605,504 words through 32 a cycle of scratchpad.
    found = _gemmini(
        "dram[WIO] K4 - scratchpad[WI] P56 K16X - accumulator[O] Q56 C4 R3 S3 C16X - register[W]"
    )
    bound = found.breakdown.bound
    assert (bound.level, bound.words, bound.bandwidth) == ("scratchpad", "both", 32)
    words = 115_605_504 + 115_605_504 // 16 + 36_864 + 58 * 58 * 64
    assert bound.cycles == pytest.approx(words / 32, abs=1)
    (arithmetic,) = (one for one in found.breakdown.limits if one.level == ARITHMETIC)
    assert (arithmetic.cycles, arithmetic.bandwidth) == (56 * 56 * 4 * 4 * 9, 256)


def test_where_the_arithmetic_takes_as_long_it_is_the_bound():
    found = _gemmini(
        "dram[WIO] K4 P56 - scratchpad[WI] K16X - accumulator[O] C4 R3 S3 C16X - register[W] Q56"
    )
    assert found.breakdown.bound.level == ARITHMETIC
    assert found.utilisation == 1


def test_loops_are_told_from_the_outermost_inwards():
    found = _gemmini(
        "dram[WIO] K4 P56 - scratchpad[WI] K16X - accumulator[O] C4 R3 S3 C16X - register[W] Q56"
    )
    assert found.loops() == (
        "dram: keeps weight 36,864, input 215,296, output 200,704 words",
        "  for K in 4",
        "    for P in 56",
        "scratchpad: keeps weight 9,216, input 11,136 of 131,072 words (15.5%)",
        "      side by side K in 16",
        "accumulator: keeps output 56 of 512 words (10.9%)",
        "        for C in 4",
        "          for R in 3",
        "            for S in 3",
        "              side by side C in 16",
        "register: keeps weight 1 of 1 words (100.0%)",
        "                for Q in 56",
        "                  multiply, accumulate",
    )


def test_the_energy_of_whole_blocks_by_hand():
    # 36 weights and 16 outputs are a block of 64 each from DRAM, 36 inputs another.
    nest = loop_nest(ConvLayer("c", 1, 4, 1, 4, 4, 3, 3))
    text = "dram[WIO] - scratchpad[] - accumulator[] - register[] K4 P2 Q2 R3 S3"
    machine = load_architecture("gemmini")
    batch = Batch.of([Mapping.parse(text)], nest)
    scored = score(nest, machine, batch, EXACT)
    parts = break_down(nest, machine, batch, scored, EXACT)
    assert parts.mac_energy_pj == pytest.approx(144 * 0.5608)
    # With nothing kept on the chip, each product reads both operands and updates its output.
    weight, source, output = parts.moved
    assert (weight.reads, source.reads, output.updates, output.reads) == (144, 144, 144, 128)
    assert [one.energy_pj for one in parts.moved] == [3 * 64 * 100, 3 * 64 * 100, 5 * 64 * 100]
    assert [one.operand for one in parts.moved] == list(Operand)
