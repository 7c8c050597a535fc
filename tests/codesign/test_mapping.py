"""Mappings as text, as arrays, and what wrong ones are told."""

import numpy as np
import pytest
from codesign.random_mappings import random_mapping, random_mask, random_nest

from mlcnn.codesign import Batch, Mapping, Operand, check_factors, load_architecture
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_NEST = loop_nest(ConvLayer("c", 1, 8, 6, 5, 5, 3, 3))
_TEXT = "dram[WIO] K2 - scratchpad[WI] P3 K4X - accumulator[O] C2 Q3 C3X - register[W] R3 S3"


def _without_ones(mapping):
    return [
        (
            [loop for loop in level.temporal if loop[1] > 1],
            sorted(loop for loop in level.spatial if loop[1] > 1),
            level.keep,
        )
        for level in mapping.levels
    ]


@pytest.mark.parametrize("seed", range(30))
def test_a_batch_gives_its_mappings_back(seed):
    generator = np.random.default_rng(seed)
    nest = random_nest(generator)
    masks = random_mask(generator, 3)
    mappings = [random_mapping(generator, nest, masks) for _ in range(4)]
    batch = Batch.of(mappings, nest)
    assert len(batch) == 4
    for number, mapping in enumerate(mappings):
        assert _without_ones(batch.mapping(number)) == _without_ones(mapping)
    for dim, size in enumerate(nest.sizes):
        assert (batch.temporal[:, dim].prod(0) * batch.spatial[:, dim].prod(0) == size).all()


def test_a_mapping_is_its_text():
    mapping = Mapping.parse(_TEXT)
    check_factors(mapping, _NEST)
    assert mapping.text(load_architecture("gemmini")) == _TEXT
    assert mapping.levels[1].keep == (Operand.WEIGHT, Operand.INPUT)


_FACTORS = "and K has 8 iterations"
_NO_LOOP = "a loop is one of N K C P Q R S and a positive number"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("K4X", "K2X", f"the factors of K are 2 x 2 x 1 x 1 = 4, {_FACTORS}: a factor of 2"),
        ("K4X", "K3X", f"the factors of K are 2 x 3 x 1 x 1 = 6, {_FACTORS}: 6 does not"),
        ("R3", "G3", f"loop G3 of level 3: {_NO_LOOP}"),
        ("R3", "R0", f"loop R0 of level 3: {_NO_LOOP}"),
        ("C2 Q3", "C2 C3", "C stands twice in level 2; give one factor"),
    ],
)
def test_wrong_factors_are_told(old, new, message):
    with pytest.raises(InputError) as told:
        check_factors(Mapping.parse(_TEXT.replace(old, new)), _NEST)
    assert str(told.value).startswith(f"mapping of c: {message}")


def test_padded_factors_may_exceed_a_dimension():
    padded = Mapping.parse(_TEXT.replace("P3", "P4"))
    check_factors(padded, _NEST, padded=True)
    with pytest.raises(InputError, match="the factors of P are"):
        check_factors(padded, _NEST)


def test_text_that_is_no_mapping_is_told():
    with pytest.raises(InputError) as told:
        Mapping.parse("dram[WIO] K2 - scratchpad K4X")
    assert str(told.value) == (
        "level 'scratchpad K4X' of a mapping: it must be what it keeps (W, I, O) and its loops, "
        "outermost first, X for spatial ones, as 'scratchpad[WI] K2 C4X'"
    )


def test_mappings_of_one_batch_keep_the_same():
    mappings = [Mapping.parse(_TEXT), Mapping.parse(_TEXT.replace("[WI]", "[W]"))]
    with pytest.raises(InputError, match="got 2 different masks"):
        Batch.of(mappings, _NEST)


def test_arrays_of_a_batch_fit_each_other():
    ones = np.ones((2, 3, 1))
    order = np.zeros((2, 3, 1), np.int64)
    with pytest.raises(InputError, match="needs 3 dims and a keep mask"):
        Batch(("N", "K"), ones, ones, order, np.ones((2, 3), bool))
    with pytest.raises(InputError, match="must be of one shape"):
        Batch(("N", "K", "C"), ones, ones[:1], order, np.ones((2, 3), bool))
    with pytest.raises(InputError, match="outermost level must keep every operand"):
        Batch(("N", "K", "C"), ones, ones, order, np.zeros((2, 3), bool))
