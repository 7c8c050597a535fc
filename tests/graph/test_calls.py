"""Calls as text: literals only, one message for anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.graph.calls import Call, parse_call, require_arguments

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner)
    ),
    max_leaves=6,
)


@given(st.lists(LITERALS, max_size=3), st.dictionaries(st.sampled_from(["a", "b_2"]), LITERALS))
def test_what_python_writes_is_read_back(arguments: list[object], keywords: dict) -> None:
    shown = [repr(value) for value in arguments] + [f"{k}={v!r}" for k, v in keywords.items()]
    text = f"package.module:name({', '.join(shown)})".replace("inf", "1e999")
    if "inf" in "".join(shown):  # which is no literal of Python
        return
    assert parse_call(text) == Call("package.module:name", tuple(arguments), keywords)


@pytest.mark.parametrize("text", ["name", "a.b:c", "timm:resnet50.a1_in1k", ""])
def test_without_parentheses_all_is_the_name(text: str) -> None:
    assert parse_call(text) == Call(text)
    assert parse_call(text).is_bare


LITERAL = (
    "an argument is a number, text in quotes, True, False, None, or a list, tuple or dict of such"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f(", "the arguments cannot be read ('(' was never closed); write them as in Python, as"),
        ("f(a=)", "the arguments cannot be read ("),
        ("f(a=1, a=2)", "the argument 'a' is given twice; give it once"),
        ("f(1)(2)", "one pair of parentheses ends it, as in f(size=18)"),
        ("f(1).g", "one pair of parentheses ends it, as in f(size=18)"),
        ("f(1) + f(2)", "one pair of parentheses ends it, as in f(size=18)"),
        ("f(**{'a': 1})", "** is not taken; give each argument by its name"),
        ("f(*[1])", f"*[1] is no literal; {LITERAL}"),
        ("f(size=full)", f"full is no literal; {LITERAL}"),
        ("f(x=open('a'))", f"open('a') is no literal; {LITERAL}"),
        ("f(9**9**9)", f"9 ** 9 ** 9 is no literal; {LITERAL}"),
        ("f({[]: 1})", f"{{[]: 1}} is no literal; {LITERAL}"),
        (f"f({'(' * 300}1{')' * 300})", "the arguments cannot be read (too many nested"),
        ("f(\0)", "the arguments cannot be read ("),
    ],
)
def test_what_is_no_literal_is_one_message(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_call(text)
    assert str(caught.value).startswith(f"{text}: {message}")
    assert "\n" not in str(caught.value)


def build(depth: int, *, width: float = 1.0) -> None:
    """What the texts below call."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m:build", "missing a required argument: 'depth'; it is build(depth: int, *, width"),
        ("m:build(1, 2)", "too many positional arguments; it is build("),
        (
            "m:build(1, wdith=2)",
            "got an unexpected keyword argument 'wdith', did you mean 'width'",
        ),
    ],
)
def test_arguments_that_a_function_does_not_take(text: str, message: str) -> None:
    require_arguments("m:build(1)", parse_call("m:build(1, width=2)"), build)
    require_arguments("range", parse_call("range(1, 2, 3, 4)"), range)  # tells nothing of itself
    with pytest.raises(InputError) as caught:
        require_arguments(text, parse_call(text), build)
    assert str(caught.value).startswith(f"{text}: {message}")
