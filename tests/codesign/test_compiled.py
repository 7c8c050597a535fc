"""The compiled scorer gives the bits of the one in numpy."""

from dataclasses import replace

import numpy as np
import pytest
from codesign.random_mappings import random_mapping, random_mask, random_nest

from mlcnn.codesign import (
    CONVENTIONS,
    EXACT,
    Architecture,
    Batch,
    EnergyLaw,
    FanOut,
    Level,
    Mapping,
    Operand,
    compiled,
    fits,
    load_architecture,
    score,
    score_fast,
)
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_ALL = tuple(Operand)

pytestmark = pytest.mark.skipif(compiled.kernel() is None, reason="there is no C compiler")


def _bound(generator, most):
    return None if generator.random() < 0.4 else float(generator.uniform(0.05, most))


def _level(generator, name):
    dims = None if generator.random() < 0.5 else ("K", "C", "P", "R")
    capacity = [None, 40, {o: int(generator.integers(1, 30)) for o in _ALL[:2]}]
    return Level(
        name, _ALL, 8, capacity[generator.integers(3)], EnergyLaw(generator.uniform(0.1, 9), 0.03),
        None if generator.random() < 0.5 else EnergyLaw(generator.uniform(0.1, 9)),
        int(generator.integers(1, 9)), _bound(generator, 3), _bound(generator, 3),
        _bound(generator, 5), FanOut(int(generator.integers(1, 9)), dims),
    )  # fmt: skip


def _check(seeds, rule):
    differ = 0
    for seed in seeds:
        generator = np.random.default_rng(seed)
        depth = int(generator.integers(1, 6))
        levels = tuple(_level(generator, f"level{number}") for number in range(depth))
        machine = Architecture("random", levels, float(generator.uniform(0.1, 2)))
        nest, masks = random_nest(generator, 4096), random_mask(generator, depth)
        batch = Batch.of([random_mapping(generator, nest, masks) for _ in range(5)], nest)
        expected, found = (run(nest, machine, batch, rule) for run in (score, score_fast))
        assert np.array_equal(found.latency_cycles, expected.latency_cycles), seed
        assert np.array_equal(found.energy_pj, expected.energy_pj), seed
        fitting = fits(nest, machine, batch, rule)
        assert np.array_equal(found.fits, fitting), seed
        differ += 0 < fitting.sum() < len(batch)
    assert differ > 0


@pytest.mark.parametrize("rule", CONVENTIONS.values(), ids=CONVENTIONS)
def test_the_kernel_gives_the_bits_of_numpy(rule):
    _check(range(150), rule)


@pytest.mark.long
@pytest.mark.parametrize("rule", CONVENTIONS.values(), ids=CONVENTIONS)
def test_the_kernel_gives_the_bits_of_numpy_thousands_of_times(rule):
    _check(range(1000, 4000), rule)


def test_without_a_compiler_numpy_scores(monkeypatch):
    nest = loop_nest(ConvLayer("c", 1, 8, 6, 9, 9, 3, 3))
    texts = ["[WIO] P7 - [WI] K8X - [O] C2 Q7 R3 S3 C3X - [W]"]
    batch = Batch.of([Mapping.parse(text) for text in texts], nest)
    machine = load_architecture("gemmini")
    expected = score_fast(nest, machine, batch)
    monkeypatch.setattr(compiled, "kernel", lambda: None)
    found = score_fast(nest, machine, batch)
    assert found.energy_pj[0] == expected.energy_pj[0]
    assert found.latency_cycles[0] == expected.latency_cycles[0]
    assert found.fits[0] == expected.fits[0]


def test_counts_beyond_exact_doubles_are_an_error_here_too():
    nest = loop_nest(ConvLayer("vast", 2**20, 2**20, 2**20, 1, 1, 1, 1))
    batch = Batch.of([Mapping.parse(f"[WIO] N{2**20} K{2**20} C{2**20}")], nest)
    machine = Architecture("one", (Level("dram", _ALL, 8),), 1.0)
    with pytest.raises(InputError, match=r"nest vast: a count of .* is beyond what float64"):
        score_fast(nest, machine, batch, EXACT)


def test_what_a_level_does_not_take_is_told_here_too():
    nest = loop_nest(ConvLayer("c", 1, 2, 1, 1, 1, 1, 1))
    machine = Architecture("one", (replace(Level("dram", _ALL, 8), name="main"),), 1.0)
    batch = Batch.of([Mapping.parse("[WIO] K2 - [WIO]")], nest)
    with pytest.raises(InputError, match="has 1 levels and the mappings have 2"):
        score_fast(nest, machine, batch)


def test_a_scorer_of_many_batches_gives_what_one_of_each_gives():
    nest = loop_nest(ConvLayer("c", 1, 8, 6, 9, 9, 3, 3))
    machine = load_architecture("gemmini")
    scorer = compiled.FastScorer(nest, machine)
    texts = (
        "[WIO] P7 - [WI] K8X - [O] C2 Q7 R3 S3 C3X - [W]",
        "[WIO] P7 - [I] K8X - [O] C2 Q7 R3 S3 C3X - []",
        "[WIO] P7 Q7 - [WI] K8X - [O] C2 R3 S3 C3X - [W]",
    )
    for text in texts:
        batch = Batch.of([Mapping.parse(text)], nest)
        for exchange in (False, True, False):
            expected = score(nest, machine, batch, exchange=exchange)
            found = scorer(batch, exchange=exchange)
            assert found.energy_pj[0] == expected.energy_pj[0]
            assert found.latency_cycles[0] == expected.latency_cycles[0]
    with pytest.raises(InputError, match="the mappings keep output there"):
        scorer(Batch.of([Mapping.parse("[WIO] P7 - [WO] K8X - [O] C6 Q7 R3 S3 - [W]")], nest))
