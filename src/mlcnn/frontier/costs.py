"""What costs are called for people, and in which unit; records keep the keys."""

from dataclasses import dataclass

__all__ = ["amount", "label"]


@dataclass(frozen=True, slots=True)
class _Words:
    """How a cost is told.

    Attributes:
        label: what it is.
        unit: of what is shown; empty for a number.
        per_unit: how much of the recorded quantity a unit is.
    """

    label: str
    unit: str = ""
    per_unit: float = 1.0


_LATENCY, _ENERGY = "latency_ms ", "energy_pj "
_KNOWN = {
    "latency_ms": _Words("latency", "ms"),
    "area_um2": _Words("area", "mm2", 1e6),
    "parameters": _Words("parameters"),
    "multiplications": _Words("multiplications"),
    "multiplications run": _Words("multiplications, zeros too"),
    "bytes": _Words("file size", "kB", 1e3),
    "peak_bytes": _Words("peak memory", "kB", 1e3),
    "energy_pj": _Words("energy of an image", "µJ", 1e6),
}


def _words(key: str) -> _Words:
    if key.startswith(_LATENCY):
        return _Words(f"latency in {key.removeprefix(_LATENCY)}", "ms")
    if key.startswith(_ENERGY):
        return _Words(f"energy of an image on {key.removeprefix(_ENERGY)}", "µJ", 1e6)
    return _KNOWN.get(key, _Words(key))


def label(key: str) -> str:
    """What a cost is called.

    Args:
        key: of a point's costs; an unknown one is called as it is.
    """
    return _words(key).label


def amount(key: str, value: float) -> str:
    """A cost with its unit, as ``"1,156 kB"``.

    Args:
        key: of a point's costs.
        value: in the unit that the key names.
    """
    words = _words(key)
    shown = value / words.per_unit
    digits = f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:,.4g}"
    return f"{digits} {words.unit}".strip()
