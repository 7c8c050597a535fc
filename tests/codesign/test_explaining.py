"""Counts told term by term: the terms are the counts, and the sentences end with them."""

import re

import pytest
from codesign.test_breakdown import random_scored

from mlcnn.codesign import (
    CONVENTIONS,
    EXACT,
    TIMELOOP_2023,
    Mapping,
    explain,
    explaining,
    load_architecture,
    scored_mapping,
)
from mlcnn.codesign.explaining import Amounts
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_NEST = loop_nest(ConvLayer("c", 1, 8, 6, 6, 6, 3, 3))
_TEXT = "dram[WIO] P2 - scratchpad[WI] Q2 K4X - accumulator[O] K2 C2 P2 C3X - register[W] R3 S3 Q2"


def _told(where, rule=EXACT):
    machine = load_architecture("gemmini")
    found = scored_mapping(_NEST, machine, Mapping.parse(_TEXT), rule)
    return explain(_NEST, machine, found.batch, rule, where)


@pytest.mark.parametrize("rule", CONVENTIONS.values(), ids=CONVENTIONS)
def test_what_is_told_is_what_is_counted(rule):
    for seed in range(60):
        found = random_scored(seed, rule)
        for one in found.breakdown.moved:
            where = f"{one.level}.{one.operand}"
            told = explain(found.nest, found.architecture, found.batch, rule, where)
            assert told.conventions[rule.name] == Amounts(one.reads, one.fills, one.updates)
            assert _sums(told.lines) == {
                name: words
                for name, words in (
                    ("reads", one.reads), ("fills", one.fills), ("updates", one.updates),
                )
                if name in {line.partition(":")[0] for line in told.lines}
            }  # fmt: skip
            assert told.walked is not None
            if rule is EXACT:
                assert told.walked == told.conventions["exact"]


def _sums(lines):
    """What the last line of each direction comes to, and the formula above it."""
    result, name, value = {}, "", 0.0
    for line in lines:
        number = re.search(r"= ([\d,]+) words$", line)
        if not line.startswith(" "):
            name = line.partition(":")[0]
        elif line.startswith("  tile"):
            value = _number(number[1])
        elif factor := re.match(r"  x (\d+): ", line):
            value *= int(factor[1])
        elif less := re.match(r"  - ([\d,]+): ", line):
            value -= _number(less[1])
        elif " that work" in line:
            result[name] = _number(number[1])
        elif line.startswith("  = ") and " - " not in line:
            assert _number(number[1]) == value, lines
    return result


def _number(text):
    return float(text.replace(",", ""))


def test_a_formula_by_hand():
    # Tiles of 4 rows and 4 columns of 6 channels: the loop Q2 of scratchpad is inside the tile.
    told = _told("scratchpad.input")
    assert told.lines[:5] == (
        "fills: what the tile of one scratchpad takes in from dram",
        (
            "  tile = C6 x [P2 by R3, stride 1, dilation 1, words touched] x [Q4 by S3, stride 1, "
            "dilation 1, words touched] = 144 words"
        ),
        "  x 2: P2 of dram",
        "  - 72: at 1 steps of P2 of dram 72 words stay",
        "  = 216 words",
    )
    assert told.conventions["exact"].fills == 6 * 6 * 6


def test_a_loop_that_moves_nothing_is_named():
    lines = _told("scratchpad.weight").lines
    assert "  x 1: P2 of dram moves nothing, nor does a loop inside it, so the tile stays" in lines


def test_first_visits_that_are_not_counted_are_taken_off():
    told = _told("accumulator.output", CONVENTIONS["timeloop-2024"])
    assert "  - 32: first visits, which timeloop-2024 does not count" in told.lines
    assert told.conventions["timeloop-2024"].fills == 0
    assert told.conventions["timeloop-2023"].fills == 8 * 4 * 4


def test_a_large_nest_is_not_walked(monkeypatch):
    monkeypatch.setattr(explaining, "WALKED", 100)
    told = _told("dram.weight", TIMELOOP_2023)
    assert told.walked is None
    assert told.not_walked == (
        "not walked: the nest has 6,912 multiply-accumulates, and one of up to 100 is"
    )
    assert set(told.conventions) == set(CONVENTIONS)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("dram", "a level and an operand are required, as dram.weight"),
        (
            "scratchpd.weight",
            (
                "gemmini has no level 'scratchpd'; did you mean 'scratchpad'?; levels: dram, "
                "scratchpad, accumulator, register"
            ),
        ),
        (
            "dram.weights",
            (
                "there is no operand 'weights'; did you mean 'weight'?; operands: weight, input, "
                "output"
            ),
        ),
        (
            "register.input",
            (
                "the mapping keeps no input there, so nothing is counted; it keeps it at dram, "
                "scratchpad"
            ),
        ),
    ],
)
def test_what_is_not_there_is_told(where, message):
    with pytest.raises(InputError) as told:
        _told(where)
    assert str(told.value) == f"--explain {where}: {message}"
