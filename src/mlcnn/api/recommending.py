"""Which of several methods serves each layer best, by what was found out of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from mlcnn.api.layer_results import SURELY_FASTER, LayerResult
from mlcnn.api.shrinking import Sensitivity
from mlcnn.frontier import LayerSize, LayerTime, label
from mlcnn.table import Shown
from mlcnn.training.intervals import points

__all__ = ["Recommendation", "recommend", "recommendations_shown"]

_LATENCY = "latency_ms "
_EQUAL = 0.95
_LEAVE = "leave dense"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is best for a layer.

    Attributes:
        layer: its name.
        method: the name of the method that makes it smallest; empty to leave it as it is.
        gains: how many times less the layer costs by each method; below 1 is a loss.
        told: what it loses by that, or why it stays, in words.
    """

    layer: str
    method: str
    gains: Mapping[str, float]
    told: str = field(default="")

    def to_json(self) -> dict[str, object]:
        """One entry of ``recommended``."""
        return {**asdict(self), "method": self.method or None}


def recommend(
    quantity: str,
    results: Mapping[str, Sequence[LayerResult]],
    sensitivities: Sequence[Sensitivity] = (),
) -> tuple[Recommendation, ...]:
    """The method for each layer that makes its cost smallest, or none where all of them lose.

    Of methods that gain about the same, the one to which the layer is least sensitive.

    Args:
        quantity: the cost that is to be small, as a point has it.
        results: the layers of one network for each method, all made from one original.
        sensitivities: of layers to methods, as far as they are known.
    """
    layers = dict.fromkeys(r.name for rows in results.values() for r in rows if r.before)
    lost = {(item.layer, item.method): item for item in sensitivities}
    found: list[Recommendation] = []
    for name in layers:
        rows = {m: r for m, each in results.items() for r in each if r.name == name and r.before}
        gains = {m: gain for m, r in rows.items() if (gain := _gain(quantity, r)) is not None}
        sure = {m: gain for m, gain in gains.items() if _is_sure(quantity, rows[m], gain)}
        method = _chosen(sure, {m: lost[name, m] for m in sure if (name, m) in lost})
        told = _told(rows[method], lost.get((name, method))) if method else _why(gains)
        found.append(Recommendation(name, method, gains, told))
    return tuple(found)


def _time(quantity: str, row: LayerResult) -> LayerTime | None:
    engine = quantity.removeprefix(_LATENCY)
    return next((time for time in row.times if time.engine == engine), None)


def _gain(quantity: str, row: LayerResult) -> float | None:
    """How many times less a layer costs; None where that is not known."""
    if quantity.startswith(_LATENCY):
        time = _time(quantity, row)
        return None if time is None else time.speedup.value
    if row.before is None or row.after is None:
        return None
    after = _size(quantity, row.after)
    return _size(quantity, row.before) / after if after else None


def _size(quantity: str, layer: LayerSize) -> float:
    """What goes by it: an accelerator without use for zeros multiplies by them."""
    if quantity == "parameters":
        return layer.parameters
    return layer.multiplications if quantity == "multiplications" else layer.dense


def _is_sure(quantity: str, row: LayerResult, gain: float) -> bool:
    time = _time(quantity, row) if quantity.startswith(_LATENCY) else None
    return gain > 1 if time is None else time.speedup.low > SURELY_FASTER


def _chosen(gains: Mapping[str, float], lost: Mapping[str, Sensitivity]) -> str:
    most = max(gains.values(), default=0.0)
    equal = [method for method, gain in gains.items() if gain >= _EQUAL * most]
    known = [method for method in equal if method in lost]
    if len(known) == len(equal) > 1:
        return max(known, key=lambda method: lost[method].change.top1)
    return max(gains, key=lambda method: gains[method], default="")


def _told(row: LayerResult, sensitivity: Sensitivity | None) -> str:
    """What a layer loses by what is recommended."""
    slower = [
        f"a loss in {time.engine}: {time.speedup.value:.2f}x the speed"
        for time in row.times
        if time.speedup.high < 1
    ]
    parts = slower or ([row.told] if row.told else [])
    if sensitivity is not None:
        parts.append(f"half of it gone: {points(sensitivity.change)}, untrained")
    return "; ".join(parts)


def _why(gains: Mapping[str, float]) -> str:
    if not gains:
        return "what it would cost is not known"
    best = max(gains, key=lambda method: gains[method])
    kind = "a loss" if gains[best] < 1 else "no sure gain"
    return f"the best, {best}, is {kind}: {gains[best]:.2f}x"


def recommendations_shown(quantity: str, found: Sequence[Recommendation]) -> Shown:
    """A row for each layer: what is recommended, and how much less it costs by each method."""
    methods = dict.fromkeys(method for item in found for method in item.gains)
    rows = tuple(
        (
            item.layer,
            item.method or _LEAVE,
            *(f"{item.gains[m]:.2f}" if m in item.gains else "" for m in methods),
            item.told,
        )
        for item in found
    )
    return Shown(
        f"Recommended for each layer, by {label(quantity)}",
        ("layer", "method", *(f"{method}, x" for method in methods), ""),
        rows,
        ("x: how many times less a layer costs; below 1 it is a loss",),
    )
