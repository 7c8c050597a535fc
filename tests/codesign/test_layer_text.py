"""Layers from text, and what wrong text is told."""

import pytest

from mlcnn.codesign import parse_layer
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, Pool


def test_sizes_make_a_layer():
    given = parse_layer("N=2,K=64,C=32,H=56,W=28,R=3,S=1,pad=1x0,stride=2,dilation=1,G=4,name=c")
    assert given == ConvLayer(
        "c", 2, 64, 32, 56, 28, 3, 1, 4, (2, 2), (1, 1), (1, 0, 1, 0)
    )  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("pad", [0, 1])
def test_outputs_stand_for_the_least_input_that_has_them(stride, dilation, pad):
    given = parse_layer(f"P=7,Q=5,R=3,S=3,stride={stride},dilation={dilation},pad={pad}")
    assert (given.P, given.Q) == (7, 5)
    less = parse_layer(
        f"H={given.H - 1},W={given.W - 1},R=3,S=3,stride={stride},dilation={dilation},pad={pad}"
    )
    assert (less.P, less.Q) == (6, 4)


def test_a_pool_may_stand_behind():
    assert parse_layer("H=8,W=8,pool=2").pool == Pool((2, 2), (2, 2))
    assert parse_layer("H=8,W=8,pool=3x2,pool-stride=2").pool == Pool((3, 2), (2, 2))


_EXAMPLE = "(as N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1,stride=2)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("K=4,strid=2", f"'strid' is no size of a layer; did you mean 'stride'? {_EXAMPLE}"),
        (
            "K=4,X=2",
            (
                "'X' is no size of a layer; known: N, K, C, H, W, P, Q, R, S, G, stride, dilation, "
                f"pad, pool, pool-stride, name {_EXAMPLE}"
            ),
        ),
        (
            "K,C=3",
            (
                "K has no value; sizes with commas between, as "
                "N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1,stride=2"
            ),
        ),
        ("K=4,K=5", "K stands twice; give it once"),
        ("K=0", "K is '0' and must be a positive number of at most 12 digits"),
        ("K=-4", "K is '-4' and must be a positive number of at most 12 digits"),
        ("K=4e3", "K is '4e3' and must be a positive number of at most 12 digits"),
        ("K=1234567890123", "K is '1234567890123' and must be a positive number of at most 12 "),
        ("pad=-1", "pad is '-1' and must be a number that is not negative of at most 12 digits"),
        ("stride=1x2x3", "stride is '1x2x3' and must be one number, or height x width, as 2x1"),
        ("stride=0", "stride is '0' and must be a positive number of at most 12 digits"),
        ("H=4,P=4", "H and P say the same; give one of them"),
        ("P=1,R=1,pad=1", "P=1 lies in the padding alone: lessen pad"),
        (
            "H=2,R=5,pad=1",
            "the kernel reaches over 5 and the padded input has H = 2 + 2; enlarge H or pad",
        ),
        ("K=8,C=6,G=4", "C=6 is not a multiple of G=4; K and C are those of all groups together"),
        ("pool-stride=2", "pool-stride without pool: give the window of the pool, as pool=2"),
    ],
)
def test_wrong_text_is_told(text, message):
    with pytest.raises(InputError) as told:
        parse_layer(text)
    assert str(told.value).startswith(f"--layer {text}: {message}")
