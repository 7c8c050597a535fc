"""A layer from text, as ``N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1``."""

import re

from mlcnn.errors import InputError, did_you_mean
from mlcnn.workload import ConvLayer, Pool

__all__ = ["parse_layer"]

_SIZES = ("N", "K", "C", "H", "W", "P", "Q", "R", "S", "G")
_PAIRS = ("stride", "dilation", "pad", "pool", "pool-stride")
_KEYS = (*_SIZES, *_PAIRS, "name")
_NUMBER = re.compile(r"\d{1,12}")
_EXAMPLE = "as N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1,stride=2"

Pair = tuple[int, int]


def parse_layer(text: str) -> ConvLayer:
    """A layer from its sizes.

    ``K`` and ``C`` are over all groups ``G``. Sizes that are missing are 1. ``H`` and ``W`` are of
    the input without padding; ``P`` and ``Q``, of the output, stand for the least input that has
    so many. ``stride``, ``dilation``, ``pad``, ``pool`` and ``pool-stride`` are one number or
    height x width. ``name`` is what results call it.

    Args:
        text: sizes with commas between.

    Raises:
        InputError: it is no such text, or there is no such layer.

    Example:
        >>> layer = parse_layer("K=8,C=4,P=7,Q=7,R=3,S=3,pad=1,stride=2")
        >>> layer.H, layer.P, layer.strides
        (13, 7, (2, 2))
    """
    given = _given(text)
    name = given.pop("name", "layer")
    sizes = {key: _size(text, key, given.pop(key)) for key in _SIZES if key in given}
    pairs = {key: _pair(text, key, given[key]) for key in _PAIRS if key in given}
    stride, dilation = pairs.get("stride", (1, 1)), pairs.get("dilation", (1, 1))
    pad, kernel = pairs.get("pad", (0, 0)), (sizes.get("R", 1), sizes.get("S", 1))
    axes = zip(kernel, stride, dilation, pad, strict=True)
    sides = zip((("H", "P"), ("W", "Q")), axes, strict=True)
    height, width = (_input(text, sizes, keys, axis) for keys, axis in sides)
    pool = None
    if "pool" in pairs:
        pool = Pool(pairs["pool"], pairs.get("pool-stride", pairs["pool"]))
    elif "pool-stride" in pairs:
        raise _wrong(text, "pool-stride without pool: give the window of the pool, as pool=2")
    groups = sizes.get("G", 1)
    for key in ("K", "C"):
        if sizes.get(key, 1) % groups:
            raise _wrong(
                text, f"{key}={sizes.get(key, 1)} is not a multiple of G={groups}; K and C are "
                "those of all groups together",
            )  # fmt: skip
    return ConvLayer(
        name, sizes.get("N", 1), sizes.get("K", 1), sizes.get("C", 1), height, width, *kernel,
        groups, stride, dilation, (*pad, *pad), pool,
    )  # fmt: skip


def _wrong(text: str, why: str) -> InputError:
    return InputError(f"--layer {text}: {why}")


def _given(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS, otherwise=f"; known: {', '.join(_KEYS)}")
            raise _wrong(text, f"{key!r} is no size of a layer{hint} ({_EXAMPLE})")
        if not equals or not value:
            raise _wrong(text, f"{key} has no value; sizes with commas between, {_EXAMPLE}")
        if key in given:
            raise _wrong(text, f"{key} stands twice; give it once")
        given[key] = value
    return given


def _size(text: str, key: str, value: str, least: int = 1) -> int:
    if not _NUMBER.fullmatch(value) or int(value) < least:
        required = "a positive number" if least else "a number that is not negative"
        raise _wrong(text, f"{key} is {value!r} and must be {required} of at most 12 digits")
    return int(value)


def _pair(text: str, key: str, value: str) -> Pair:
    parts = value.split("x")
    if len(parts) > 2:
        raise _wrong(text, f"{key} is {value!r} and must be one number, or height x width, as 2x1")
    first, *rest = (_size(text, key, part, least=key != "pad") for part in parts)
    return first, (rest or [first])[0]


def _input(
    text: str, sizes: dict[str, int], keys: tuple[str, str], axis: tuple[int, int, int, int]
) -> int:
    """The input's size along one axis of a kernel, a stride, a dilation and a padding."""
    kernel, stride, dilation, pad = axis
    size, outputs = keys
    extent = (kernel - 1) * dilation + 1
    if size in sizes and outputs in sizes:
        raise _wrong(text, f"{size} and {outputs} say the same; give one of them")
    if outputs in sizes:
        needed = (sizes[outputs] - 1) * stride + extent - 2 * pad
        if needed < 1:
            raise _wrong(text, f"{outputs}={sizes[outputs]} lies in the padding alone: lessen pad")
        return needed
    given = sizes.get(size, 1)
    if given + 2 * pad < extent:
        raise _wrong(
            text, f"the kernel reaches over {extent} and the padded input has {size} = {given} + "
            f"{2 * pad}; enlarge {size} or pad",
        )  # fmt: skip
    return given
