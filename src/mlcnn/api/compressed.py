"""A smaller network: what it costs, layer by layer and whole, and what it has lost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.layer_results import LayerResult
from mlcnn.api.recommending import Recommendation, recommendations_shown
from mlcnn.api.shrinking import Sensitivity
from mlcnn.engines import Bench
from mlcnn.frontier import Frontier, Point, amount, label
from mlcnn.report import ORIGINAL
from mlcnn.table import Shown, Tabular
from mlcnn.training import History
from mlcnn.training.intervals import points

__all__ = ["Compressed"]


@dataclass(frozen=True, slots=True, repr=False)
class Compressed(Tabular):
    """A network made smaller within a budget.

    Attributes:
        name: of the network.
        original: the network as it was.
        model: the smaller one; batch norms whole, so that it can be trained further.
        point: what was chosen.
        frontier: all that were trained, beside the original.
        layers: before and after.
        sensitivities: what each layer matters alone; empty where that was not asked for.
        histories: the epochs of each point, in their order.
        bench: latency of the original and of the points; None if it was not measured.
        machine: of the energy; empty where it was not asked for.
        notes: what the reader must know.
        recommended: the method that serves each layer best; empty where there is one alone.
    """

    name: str
    original: ir.Model
    model: ir.Model
    point: Point
    frontier: Frontier
    layers: tuple[LayerResult, ...]
    sensitivities: tuple[Sensitivity, ...]
    histories: tuple[History, ...]
    bench: Bench | None
    machine: str
    notes: tuple[str, ...]
    recommended: tuple[Recommendation, ...] = ()

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the smaller network to an ``.onnx`` file of standard operators.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer."""
        return [layer.to_json() for layer in self.layers]

    def shown(self) -> Shown:
        """What each layer stores, computes and takes, before and after; and the whole."""
        names = tuple(dict.fromkeys(t.engine for layer in self.layers for t in layer.times))
        rows = tuple(_row(layer, names) for layer in self.layers)
        return Shown(
            f"{self.name}: {self.point.told}",
            ("layer", "parameters", "of", "multiplications", "of",
             *(f"{name}, x" for name in names), ""),
            rows,
            (*self._whole(), *self.notes),
        )  # fmt: skip

    def recommended_shown(self) -> Shown | None:
        """The method that serves each layer best; None where there is one alone."""
        if not self.recommended:
            return None
        return recommendations_shown(self.frontier.quantity, self.recommended)

    def _whole(self) -> tuple[str, ...]:
        """The network's costs and accuracy in words."""
        before, after = self.frontier.original, self.point
        lines = [
            f"{label(name)}: {amount(name, cost.mean)} of {amount(name, before.costs[name].mean)} "
            f"({100 * cost.mean / before.costs[name].mean:.1f} %)"
            for name, cost in after.costs.items()
            if before.costs[name].mean
        ]
        if after.test is not None and after.test_change is not None:
            low, high = after.test.interval
            lines.append(
                f"accuracy on {after.test.images:,} test images: {100 * after.test.top1:.2f} % "
                f"({100 * low:.2f} to {100 * high:.2f}), {points(after.test_change)}"
            )
        return tuple(lines)

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn compress --json`` prints, apart from the output's path."""
        before, after = self.frontier.original, self.point
        return {
            "name": self.name,
            "method": after.method,
            "setting": dict(after.setting),
            "accuracy": self.frontier.tested(after),
            "cost": {
                name: {"before": before.costs[name].to_json(), "after": cost.to_json()}
                for name, cost in after.costs.items()
            },
            "latency_ms": self._latencies(),
            "machine": self.machine or None,
            "layers": self.records(),
            "recommended": [item.to_json() for item in self.recommended],
            "frontier": self.frontier.to_json(),
            "sensitivity": [asdict(item) for item in self.sensitivities],
            "epochs": [[asdict(epoch) for epoch in history] for history in self.histories],
            "bench": None if self.bench is None else self.bench.to_json(),
            "notes": list(self.notes),
        }

    def _latencies(self) -> Mapping[str, dict[str, float]]:
        if self.bench is None:
            return {}
        found: dict[str, dict[str, float]] = {}
        chosen = self.point.told
        for row in self.bench.results:
            if row.variant in {ORIGINAL, chosen}:
                side = "before" if row.variant == ORIGINAL else "after"
                found.setdefault(row.engine, {})[side] = row.median_ms
        return found


def _row(layer: LayerResult, names: tuple[str, ...]) -> tuple[str, ...]:
    speedups = {time.engine: f"{time.speedup.value:.2f}" for time in layer.times}
    sides = (layer.after, layer.before)
    return (
        layer.name,
        *("" if side is None else f"{side.parameters:,}" for side in sides),
        *("" if side is None else f"{side.multiplications:,.0f}" for side in sides),
        *(speedups.get(name, "") for name in names),
        layer.told,
    )
