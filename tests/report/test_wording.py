"""Figures and names in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.report import wording

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@given(st.integers(0, 10**15))
def test_an_amount_reads_back_to_four_digits(number):
    figure, _, prefix = wording.amount(number).partition(" ")
    assert float(figure.replace(",", "")) * PREFIXES[prefix] == pytest.approx(number, rel=5.1e-4)


@given(st.floats(1e-4, 1e6))
def test_a_duration_reads_back_to_three_digits(milliseconds):
    figure, unit = wording.duration(milliseconds).split(" ")
    assert unit == "ms"
    assert float(figure.replace(",", "")) == pytest.approx(milliseconds, rel=5.1e-3)


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_only_nothing_is_0_percent_and_only_everything_is_100(share):
    text = wording.percent(share)
    assert text not in {"0 %", "100 %"}
    assert float(text.removesuffix(" %")) == pytest.approx(100 * share, abs=0.1001)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(4, 1, "-75 %"), (64, 1, "-98.4 %"), (100, 112, "+12 %"), (5, 5, "0 %"), (0, 0, "0 %")],
)
def test_a_change_carries_its_sign(before, after, text):
    assert wording.removed(before, after) == text


def test_a_change_from_nothing_has_no_percentage():
    assert wording.removed(0, 3) == ""


def test_control_and_direction_characters_do_not_pass():
    assert wording.printable("a\x1b[31mb\r\u202ec\U0001f600é") == "a�[31mb��c\U0001f600é"
