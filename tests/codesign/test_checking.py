"""Given mappings: what does not fit, and the smallest move that helps, against all moves."""

import numpy as np
import pytest
from codesign.test_breakdown import random_scored

from mlcnn.codesign import (
    EXACT,
    Architecture,
    Batch,
    FanOut,
    Level,
    LevelLoops,
    Mapping,
    Operand,
    check_factors,
    check_mapping,
    fits,
    load_architecture,
    misfits,
    smallest_move,
)
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_NEST = loop_nest(ConvLayer("conv", 1, 64, 64, 56, 56, 3, 3, pads=(1, 1, 1, 1)))
_LARGE = "dram[WIO] K4 - scratchpad[WI] P56 K16X - accumulator[O] Q56 C4 R3 S3 C16X - register[W]"


def _check(text, machine=None):
    machine = machine or load_architecture("gemmini")
    return check_mapping(_NEST, machine, Mapping.parse(text), EXACT)


def test_there_is_a_misfit_where_a_mapping_does_not_fit():
    wrong = 0
    for seed in range(300):
        found = random_scored(seed)
        fitting = bool(fits(found.nest, found.architecture, found.batch)[0])
        given = misfits(found.nest, found.architecture, found.batch, EXACT)
        assert (not given) == fitting
        assert all(one.demand > one.bound for one in given)
        wrong += not fitting
    assert 50 < wrong < 290


def _moved(mapping, loop, place):
    """The mapping with a factor moved, by hand."""
    (dim, factor), (source, spatial, target) = loop, place
    levels = []
    for number, level in enumerate(mapping.levels):
        loops = {False: dict(level.temporal), True: dict(level.spatial)}
        if number == source:
            loops[spatial][dim] //= factor
        if number == target:
            loops[False] = {dim: 1, **loops[False]} if dim not in loops[False] else loops[False]
            loops[False][dim] *= factor
        levels.append(LevelLoops(*(tuple(loops[k].items()) for k in (False, True)), level.keep))
    return Mapping(tuple(levels))


def _every_move(found):
    """Factors of all single moves outwards after which a mapping fits."""
    for source, level in enumerate(found.mapping.levels):
        for spatial, loops in ((False, level.temporal), (True, level.spatial)):
            for dim, size in loops:
                for factor in (n for n in range(2, size + 1) if size % n == 0):
                    for target in range(source + spatial):
                        moved = _moved(found.mapping, (dim, factor), (source, spatial, target))
                        check_factors(moved, found.nest)
                        if fits(found.nest, found.architecture, Batch.of([moved], found.nest))[0]:
                            yield factor


def test_no_smaller_move_helps():
    helped = 0
    for seed in range(200):
        found = random_scored(seed)
        if fits(found.nest, found.architecture, found.batch)[0]:
            continue
        move = smallest_move(found.nest, found.architecture, found.batch, EXACT)
        least = min(_every_move(found), default=None)
        assert (None if move is None else move.factor) == least
        if move is not None:
            check_factors(move.mapping, found.nest)
            assert fits(found.nest, found.architecture, Batch.of([move.mapping], found.nest))[0]
            helped += 1
    assert helped > 20


def test_what_is_too_large_is_told():
    found = _check(_LARGE)
    (one,) = found.misfits
    assert str(one) == (
        "level scratchpad has 131,072 words, and weight 9,216 + input 215,296 = 224,512 are needed"
    )
    assert one.lever == "give scratchpad a capacity of 224,512"
    assert found.help == (
        (
            "move a factor of 2 of P from the loops of scratchpad to the loops of dram: "
            "dram[WIO] P2 K4 - scratchpad[WI] P28 K16X - accumulator[O] Q56 C4 R3 S3 C16X - "
            "register[W]"
        ),
        "or give scratchpad a capacity of 224,512",
    )


def test_the_lever_of_the_machine_is_the_least():
    for words, fit in ((224_512, True), (224_511, False)):
        machine = load_architecture("gemmini").with_levels({"scratchpad": {"capacity": words}})
        assert _check(_LARGE, machine).fits is fit


def test_what_is_too_wide_is_told():
    found = _check(_LARGE.replace("K4 -", "K2 -").replace("K16X", "K32X").replace("[WI]", "[W]"))
    (one,) = found.misfits
    assert str(one) == "level scratchpad has 16 instances below it, and K32 = 32 are needed"
    assert found.move is not None
    assert str(found.move).startswith(
        "move a factor of 2 of K from the side-by-side loops of scratchpad to the loops of "
    )
    other = _check(
        "dram[WIO] K4 - scratchpad[W] P56 C16X - accumulator[] Q56 C4 R3 S3 K16X - register[W]"
    )
    assert [str(one) for one in other.misfits] == [
        "level scratchpad does not spread C over its instances: C16",
        "level accumulator does not spread K over its instances: K16",
    ]
    assert other.help == (
        (
            "no single factor that goes outwards makes it fit; or add C to the dims of the fan_out "
            "of scratchpad; add K to the dims of the fan_out of accumulator"
        ),
    )


def test_capacities_of_single_operands_are_told_by_operand():
    own = {Operand.WEIGHT: 100, Operand.INPUT: 20_000}
    levels = (
        Level("dram", tuple(Operand), 8),
        Level("buffer", tuple(Operand)[:2], 8, own, fan_out=FanOut(2)),
    )
    nest = loop_nest(ConvLayer("c", 1, 16, 8, 4, 4, 1, 1))
    mapping = Mapping.parse("dram[WIO] - buffer[WI] K16 C8 P4 Q4")
    found = check_mapping(nest, Architecture("m", levels, 1.0), mapping, EXACT)
    (one,) = found.misfits
    assert str(one) == "level buffer has 100 words, and weight 128 are needed"
    assert one.lever == "give buffer a capacity of 128 for weight"


def test_one_that_fits_needs_no_help():
    found = _check(_LARGE.replace("K4 - scratchpad[WI] P56", "K4 P56 - scratchpad[WI]"))
    assert (found.fits, found.misfits, found.move, found.help) == (True, (), None, ())
    document = found.to_json()
    assert document["fits"] is True
    assert document["change"] is None
    assert document["mapping"] == found.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("K4", "K2", "mapping of conv: the factors of K are 2 x 16 x 1 x 1 = 32, and K has 64 "),
        ("P56", "P5", "mapping of conv: the factors of P are 1 x 5 x 1 x 1 = 5, and P has 56 "),
        ("K4", "K4 D2", "mapping of conv: loop D2 of level 0: a loop is one of N K C P Q R S and"),
        ("[WI]", "[WO]", "level scratchpad of gemmini keeps weight, input, and the mappings keep "),
    ],
)
def test_what_is_no_mapping_of_the_layer_is_told(old, new, message):
    with pytest.raises(InputError) as told:
        _check(_LARGE.replace(old, new, 1))
    assert str(told.value).startswith(message)


def test_numbers_of_a_misfit_are_numbers():
    (one,) = _check(_LARGE).misfits
    assert one.to_json() == {
        "level": "scratchpad", "unit": "words", "demand": 224_512, "bound": 131_072,
        "needed": {"weight": 9216, "input": 215_296},
        "lever": "give scratchpad a capacity of 224,512", "text": str(one),
    }  # fmt: skip
    assert all(isinstance(value, int) for value in one.needed.values())
    assert not isinstance(one.demand, np.generic)
