"""The formulas of ``exact`` against a walk that touches every word."""

import numpy as np
import pytest
from codesign.random_mappings import random_mapping, random_mask, random_nest

from mlcnn.codesign import EXACT, Batch, LevelLoops, Mapping, Operand, check_factors, count, walk
from mlcnn.workload import ConvLayer, loop_nest


def _counted(nest, mapping):
    """Totals over all instances, of the shape of what is walked; words that are none left out."""
    counts = count(nest, Batch.of([mapping], nest), EXACT)
    result = {}
    for level in range(len(mapping.levels)):
        for number, operand in enumerate(Operand):
            words = (
                counts.reads[level, number, 0],
                counts.fills[level, number, 0],
                counts.updates[level, number, 0],
            )
            total = tuple(int(one * counts.instances[level, 0]) for one in words)
            if any(total):
                result[level, operand] = total
    return result


def _walked(nest, mapping):
    found = walk(nest, mapping)
    totals = {key: (one.reads, one.fills, one.updates) for key, one in found.items()}
    return {key: total for key, total in totals.items() if any(total)}


def _check(seeds):
    for seed in seeds:
        generator = np.random.default_rng(seed)
        nest = random_nest(generator)
        masks = random_mask(generator, int(generator.integers(1, 6)))
        mapping = random_mapping(generator, nest, masks)
        check_factors(mapping, nest)
        assert _counted(nest, mapping) == _walked(nest, mapping), (seed, nest, mapping)


def test_exact_counts_are_what_a_walk_touches():
    _check(range(400))


@pytest.mark.long
def test_exact_counts_are_what_a_walk_touches_on_thousands_of_nests():
    _check(range(1000, 7000))


def _loops(temporal="", spatial="", keep=tuple(Operand)):
    pairs = [
        tuple((loop[0], int(loop[1:])) for loop in text.split()) for text in (temporal, spatial)
    ]
    return LevelLoops(*pairs, keep)


def test_a_walk_by_hand():
    # One output row of 4 from 6 inputs and 3 taps; two outputs at a time are held below.
    nest = loop_nest(ConvLayer("row", 1, 1, 1, 1, 6, 1, 3))
    mapping = Mapping((_loops("Q2"), _loops("S3 Q2")))
    found = walk(nest, mapping)
    # Tiles of 4 inputs, two of which stay; 3 weights stay; 2 outputs come and go.
    assert (found[0, Operand.INPUT].reads, found[1, Operand.INPUT].fills) == (6, 6)
    assert found[0, Operand.WEIGHT].reads == 3
    assert (found[0, Operand.OUTPUT].reads, found[0, Operand.OUTPUT].updates) == (0, 4)
    # Each of 12 products reads both operands; the first of three onto an output reads no sum.
    assert found[1, Operand.WEIGHT].reads == found[1, Operand.INPUT].reads == 12
    assert (found[1, Operand.OUTPUT].reads, found[1, Operand.OUTPUT].updates) == (8, 12)


def test_stride_beyond_the_kernel_touches_fewer_words_than_the_box():
    nest = loop_nest(ConvLayer("shortcut", 1, 1, 1, 7, 7, 1, 1, strides=(2, 2)))
    mapping = Mapping((_loops(), _loops("P4 Q4")))
    assert _walked(nest, mapping)[0, Operand.INPUT][0] == 16
    assert _counted(nest, mapping) == _walked(nest, mapping)
