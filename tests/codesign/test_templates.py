"""The machines that come with the package: what they are, and that layers run on them."""

import itertools

import numpy as np
import pytest

from benchmarks.mapping import RESNET18
from mlcnn.codesign import (
    EXACT,
    Batch,
    Objective,
    Operand,
    architecture_names,
    best_of_all,
    check_factors,
    count,
    every_mapping,
    find_mapping,
    fits,
    load_architecture,
    walk,
)
from mlcnn.codesign.sram import load_sram_table
from mlcnn.codesign.walker import Walked
from mlcnn.workload import ConvLayer, loop_nest

_ALL = architecture_names()
_BITS = {"eyeriss": 16, "simba": 8, "systolic": 8}


def test_what_there_is():
    assert _ALL == ("eyeriss", "gemmini", "simba", "systolic")


def test_eyeriss_is_what_its_paper_says():
    # Chen et al., JSSC 2017: 168 elements; 108 kB; 224, 12 and 24 words of 16 bits in each.
    machine = load_architecture("eyeriss")
    dram, buffer, column, scratchpad = machine.levels
    assert [machine.instances(number) for number in range(5)] == [1, 1, 14, 168, 168]
    assert buffer.size_bytes == 108 * 1024
    assert Operand.WEIGHT not in buffer.keeps
    assert column.keeps == ()
    assert scratchpad.size_bytes == 2 * (224 + 12 + 24)
    assert dram.block_words * dram.word_bits == 64 * 8


def test_simba_is_what_its_paper_says():
    # Shao et al., MICRO 2019: 16 elements of 64 multipliers; 64, 8, 32 and 3 kB.
    machine = load_architecture("simba")
    sizes = {level.name: level.size_bytes for level in machine.levels}
    counts = {level.name: machine.instances(n) for n, level in enumerate(machine.levels)}
    assert machine.instances(6) == 16 * 64
    assert sizes["global_buffer"] == 64 * 1024
    assert sizes["input_buffer"] == 8 * 1024
    lanes = counts["weight_buffer"] / counts["input_buffer"]
    assert lanes * sizes["weight_buffer"] == 32 * 1024
    assert lanes * sizes["accumulation_buffer"] == 3 * 1024
    assert counts["register"] == 16 * 64


def test_systolic_is_of_the_size_of_gemmini():
    machine, gemmini = load_architecture("systolic"), load_architecture("gemmini")
    assert machine.instances(4) == gemmini.instances(4)
    assert machine.levels[1].size_bytes == gemmini.levels[1].size_bytes
    assert machine.levels[-1].keeps == (Operand.OUTPUT,)


@pytest.mark.parametrize("name", _BITS)
def test_memories_have_the_one_law_of_the_table(name):
    law, dram = load_sram_table().byte, load_architecture("gemmini").levels[0]
    machine = load_architecture(name)
    for level in machine.levels[1:]:
        size = law.of(level.size_bytes) * level.word_bits / 8 if level.keeps else 0.0
        assert level.read_pj == level.write_pj == pytest.approx(size, rel=1e-9)
    assert machine.levels[0].read_pj / machine.levels[0].word_bits == dram.read_pj / dram.word_bits


@pytest.mark.parametrize("name", _BITS)
@pytest.mark.parametrize("layer", RESNET18, ids=lambda layer: layer.name)
def test_every_layer_of_resnet_has_a_mapping(name, layer):
    nest, machine = loop_nest(layer), load_architecture(name)
    found = find_mapping(nest, machine, Objective.EDP, budget_s=20)
    check_factors(found.mapping, nest)
    assert fits(nest, machine, Batch.of([found.mapping], nest))[0]
    assert found.value >= found.bound > 0


@pytest.mark.parametrize("name", _BITS)
def test_the_best_of_a_tiny_layer_is_the_best_of_all(name):
    nest, machine = loop_nest(ConvLayer("tiny", 1, 2, 2, 1, 2, 1, 1)), load_architecture(name)
    best = best_of_all(nest, machine, Objective.EDP)
    found = find_mapping(nest, machine, Objective.EDP)
    assert found.value == best.value


@pytest.mark.parametrize("name", _BITS)
def test_counts_are_those_of_a_walk(name):
    # Some of the mappings of each mask: of all orders and places there are too many.
    machine = load_architecture(name)
    nest = loop_nest(ConvLayer("tiny", 1, 2, 2, 3, 2, 2, 1))
    for batch in itertools.islice(every_mapping(nest, machine), 64):
        counts = count(nest, batch, EXACT)
        for column in range(0, len(batch), 997):
            walked = walk(nest, batch.mapping(column))
            for level, number in np.ndindex(counts.reads.shape[:2]):
                words = [
                    a[level, number, column] for a in (counts.reads, counts.fills, counts.updates)
                ]
                found = walked.get((level, tuple(Operand)[number]), Walked())
                total = [one * counts.instances[level, column] for one in words]
                assert total == [found.reads, found.fills, found.updates]
