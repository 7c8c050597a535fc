"""Expressions of files: arithmetic and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.codesign.timeloop.expression import evaluate
from mlcnn.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1024*64*8", 524288),
        ("2**10 + 3", 1027),
        ("-7 // 2", -4),
        ("7 % 4 / 2", 1.5),
        ("(banks + 1) * width", 33 * 64),
        ("1e-9", 1e-9),
        ("+4", 4),
    ],
)
def test_arithmetic(text, value):
    assert evaluate(text, {"banks": 32, "width": 64}) == value


@given(st.integers(-(2**20), 2**20), st.integers(-(2**20), 2**20), st.sampled_from("+-*"))
def test_it_is_pythons_arithmetic(one, other, sign):
    expected = {"+": one + other, "-": one - other, "*": one * other}[sign]
    assert evaluate(f"({one}) {sign} ({other})", {}) == expected


_WHAT = "an expression is numbers and known names with + - * / // % ** and brackets"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width*", f"'width*' is no expression; {_WHAT}"),
        ("widht*2", "unknown name 'widht' in 'widht*2'; did you mean 'width'?"),
        ("__import__('os')", f"\"__import__('os')\" in \"__import__('os')\": {_WHAT}"),
        ("width.real", f"'width.real' in 'width.real': {_WHAT}"),
        ("[1][0]", f"'[1][0]' in '[1][0]': {_WHAT}"),
        ("(lambda: 1)()", f"'(lambda: 1)()' in '(lambda: 1)()': {_WHAT}"),
        ("True", f"'True' in 'True': {_WHAT}"),
        ("'a'*9", f"\"'a'\" in \"'a'*9\": {_WHAT}"),
        ("1 << 9", f"'1 << 9': {_WHAT}"),
        ("9**9**9", "'9**9**9': the power 9 ** 387420489 is not computed; bases are at most "
         "65536 and exponents at most 64"),
        ("9**64", "'9**64': a value is beyond 9.22e+18"),
        ("(-2)**0.5", "'(-2)**0.5': -2 ** 0.5 is no real number"),
        ("1/0", "'1/0' cannot be computed: division by zero"),
        ("1e999", "'1e999': a value is beyond 9.22e+18"),
        ("1+" * 200 + "1", "an expression of 401 characters; at most 200 are read"),
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_is_told(text, message):
    with pytest.raises(InputError) as told:
        evaluate(text, {"width": 64})
    assert str(told.value) == message
