"""Numbers and names in words, for the page and for the terminal. ASCII only, names apart."""

import math
import re
from collections.abc import Iterable

from mlcnn.workload import Uncounted

__all__ = [
    "amount",
    "area",
    "duration",
    "error",
    "figure",
    "pass_names",
    "per",
    "percent",
    "plural",
    "printable",
    "ratio",
    "removed",
    "uncounted_sentence",
]

# What would round up to the next prefix takes the next prefix.
_ROUNDS_UP = 1 - 5e-5
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _significant(value: float, digits: int) -> str:
    """``value`` with at least ``digits`` significant digits and no exponent."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:,.{max(digits - 1 - exponent, 0)}f}"


def amount(number: float) -> str:
    """A large number with four digits and a decimal prefix.

    >>> amount(313_200_000), amount(950), amount(999_999)
    ('313.2 M', '950', '1.000 M')
    """
    for unit, prefix in _UNITS:
        if abs(number) >= unit * _ROUNDS_UP:
            return f"{_significant(number / unit, 4)} {prefix}"
    return _significant(number, 4) if number % 1 else str(int(number))


def figure(number: float, digits: int = 4) -> str:
    """A number with so many significant digits and no prefix, to stand under its unit.

    >>> figure(1234.567), figure(0.0312), figure(99.999, 3)
    ('1,235', '0.03120', '100')
    """
    return _significant(number, digits)


def area(square_micrometres: float) -> str:
    """An area in square millimetres, to stand under its unit; it may not be known.

    >>> area(1_234_000.0), area(float("nan"))
    ('1.23', 'unknown')
    """
    known = math.isfinite(square_micrometres)
    return figure(square_micrometres / 1e6, 3) if known else "unknown"


def duration(milliseconds: float) -> str:
    """A duration with three digits, always in milliseconds: figures side by side must compare.

    >>> duration(0.0412), duration(3.14159), duration(12_345)
    ('0.0412 ms', '3.14 ms', '12,345 ms')
    """
    return f"{_significant(milliseconds, 3)} ms"


def percent(share: float) -> str:
    """A share between 0 and 1 as a percentage; only exactly 0 and 1 read as 0 and 100.

    >>> percent(0.75), percent(63 / 64), percent(0.99996), percent(0.00001), percent(1)
    ('75 %', '98.4 %', '99.9 %', '0.1 %', '100 %')
    """
    tenths = round(abs(share) * 1000)
    if 0 < abs(share) < 1:
        tenths = min(max(tenths, 1), 999)
    sign = "-" if share < 0 else ""
    whole, tenth = divmod(tenths, 10)
    return f"{sign}{whole}.{tenth} %" if tenth else f"{sign}{whole} %"


def removed(before: float, after: float) -> str:
    """By how much ``before`` changed, signed: ``-75 %`` where three quarters are gone.

    >>> removed(100, 25), removed(100, 112), removed(5, 5), removed(0, 3)
    ('-75 %', '+12 %', '0 %', '')
    """
    if before == 0:
        return "0 %" if after == 0 else ""
    share = (after - before) / before
    return f"+{percent(share)}" if share > 0 else percent(share)


def ratio(value: float) -> str:
    """A speed-up.

    >>> ratio(1.5234), ratio(27.41)
    ('1.52x', '27.4x')
    """
    return f"{value:.2f}x" if value < 9.995 else f"{_significant(value, 3)}x"


def error(value: float) -> str:
    """A small error.

    >>> error(3.2e-15), error(0.0)
    ('3.2e-15', '0')
    """
    return f"{value:.1e}" if value else "0"


def plural(number: int, noun: str) -> str:
    """A number and its noun.

    >>> plural(1, "site"), plural(1200, "layer")
    ('1 site', '1,200 layers')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def per(images: int) -> str:
    """For how many images a figure holds.

    >>> per(1), per(8)
    ('per image', 'for 8 images')
    """
    return "per image" if images == 1 else f"for {images:,} images"


def pass_names(pipeline: str) -> str:
    """The passes of a pipeline without their options, which can be long.

    >>> pass_names("fold-batch-norm,fuse{forms=conv1=box+conv2=box}")
    'fold-batch-norm, fuse'
    """
    return ", ".join(re.sub(r"\{[^}]*\}", "", pipeline).split(","))


def printable(name: str) -> str:
    """A name from outside without control characters, which could steer a terminal.

    >>> printable("conv1"), printable("a" + chr(27) + "[31m")
    ('conv1', 'a\N{REPLACEMENT CHARACTER}[31m')
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def uncounted_sentence(operators: Iterable[Uncounted]) -> str:
    """What no figure includes; empty where there is nothing of that kind.

    >>> uncounted_sentence([Uncounted("up", "ConvTranspose"), Uncounted("a", "MatMul")])[56:]
    'dense layers: ConvTranspose (up), MatMul (a)'
    """
    names: dict[str, list[str]] = {}
    for entry in operators:
        names.setdefault(printable(entry.operator), []).append(printable(entry.name))
    if not names:
        return ""
    parts = (
        f"{operator} ({found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''})"
        for operator, found in names.items()
    )
    scope = "not in the figures, which are those of convolutions and dense layers: "
    return scope + ", ".join(parts)
