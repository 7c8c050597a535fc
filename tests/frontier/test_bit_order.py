"""The order in which layers lose bits."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.frontier.widths import LOOKED_AT, Harm, Operand, order

HARMS = st.tuples(st.floats(1e-6, 1), st.floats(1, 50)).map(lambda p: Harm(p[0], p[0] * p[1]))


def test_harm_is_what_was_measured_and_a_line_beside_it():
    harm = Harm(0.01, 0.09)
    assert [harm.at(bits) for bits in LOOKED_AT] == pytest.approx([0.01, 0.09])
    ratios = [harm.at(bits) / harm.at(bits + 1) for bits in range(2, 8)]
    assert ratios == pytest.approx([3] * 6)


@given(st.floats(0, 1), st.floats(0, 1))
def test_harm_never_falls_with_the_bits(first, second):
    found = [Harm(first, second).at(bits) for bits in range(8, 1, -1)]
    assert found == sorted(found)
    assert found[0] > 0


@given(st.lists(HARMS, min_size=1, max_size=4), st.data())
def test_each_step_saves_most_for_its_harm(harms, data):
    """Against a search through all operands, with energies that depend on the bits of all."""
    operands = {Operand("weights", str(i)): harm for i, harm in enumerate(harms)}
    each = {operand: data.draw(st.floats(0.1, 10)) for operand in operands}

    def saved(operand, bits):
        return each[operand] * (1 + sum(bits.values()))

    steps = list(order(operands, saved, most=8, least=2))
    assert len(steps) == 6 * len(operands)
    bits = dict.fromkeys(operands, 8)
    for step in steps:
        gains = {
            o: saved(o, bits) / max(h.at(bits[o] - 1) - h.at(bits[o]), 1e-9)
            for o, h in operands.items()
            if bits[o] > 2
        }
        assert gains[step] == max(gains.values())
        bits[step] -= 1
    assert {*bits.values()} == {2}


def test_two_that_are_alike_take_turns():
    alike = {Operand("inputs", name): Harm(0.1, 0.4) for name in "ab"}
    steps = [step.name for step in order(alike, lambda *_: 1.0, most=4, least=2)]
    assert all(a != b for a, b in itertools.pairwise(steps[:2]))
