"""Reasons that are alike, told once."""

import re
from collections.abc import Mapping, Sequence

__all__ = ["grouped"]

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?%?")


def grouped(dropped: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was left out, those together whose reasons differ in figures alone: names and reason.

    >>> grouped({"a": "no cheaper: 0.99 of it", "b": "no cheaper: 1.02 of it", "c": "no time"})
    [('a, b', 'no cheaper: 0.99 to 1.02 of it'), ('c', 'no time')]
    """
    alike: dict[str, list[str]] = {}
    for name, why in dropped.items():
        alike.setdefault(_NUMBER.sub("#", why), []).append(name)
    return [(", ".join(names), _together([dropped[n] for n in names])) for names in alike.values()]


def _together(reasons: Sequence[str]) -> str:
    """One reason, with the range of each figure."""
    columns = iter(zip(*(_NUMBER.findall(reason) for reason in reasons), strict=True))

    def both(_: re.Match[str]) -> str:
        found = sorted(next(columns), key=lambda text: float(text.strip("%").replace(",", "")))
        return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"

    return _NUMBER.sub(both, reasons[0])
