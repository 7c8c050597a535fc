"""A network that leaves out what single images do not need: what it costs, and what it loses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph
from mlcnn.frontier import Cost, Frontier, Point
from mlcnn.table import Shown, Tabular
from mlcnn.training.intervals import points

__all__ = ["Dynamic"]


@dataclass(frozen=True, slots=True, repr=False)
class Dynamic(Tabular):
    """A network whose cost depends on the image.

    Attributes:
        name: of the network.
        original: the network as it was.
        model: the dynamic one, of standard operators.
        point: what was chosen.
        frontier: all that were tried, beside the original.
        notes: what the reader must know.
    """

    name: str
    original: ir.Model
    model: ir.Model
    point: Point
    frontier: Frontier
    notes: tuple[str, ...] = ()

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the network to an ``.onnx`` file of standard operators.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    @property
    def shares(self) -> Mapping[str, Cost]:
        """What an image costs, as a share of what it costs in the original."""
        before = self.frontier.original.costs
        return {
            name: Cost(*(value / before[name].mean for value in (c.mean, c.sd, c.p95, c.worst)))
            for name, c in self.point.costs.items()
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each cost."""
        return [{"cost": name, **asdict(cost)} for name, cost in self.point.costs.items()]

    def shown(self) -> Shown:
        """What an image costs: mean, spread, 95th percentile and worst, beside the original."""
        before = self.frontier.original.costs
        rows = tuple(
            (name, f"{before[name].mean:,.4g}",
             *(f"{value:,.4g}" for value in (cost.mean, cost.sd, cost.p95, cost.worst)),
             f"{100 * cost.mean / before[name].mean:.1f} %")
            for name, cost in self.point.costs.items()
        )  # fmt: skip
        columns = ("an image", "original", "mean", "spread", "95 of 100 below", "worst", "mean, of")
        return Shown(f"{self.name}: {self.point.told}", columns, rows, (self._told(), *self.notes))

    def _told(self) -> str:
        test, change = self.point.test, self.point.test_change
        if test is None or change is None:
            return ""
        low, high = test.interval
        return (
            f"accuracy on {test.images:,} images that nothing was chosen on: "
            f"{100 * test.top1:.2f} % ({100 * low:.2f} to {100 * high:.2f}), {points(change)}"
        )

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn skip --json`` prints, apart from the output's path."""
        before, after = self.frontier.original, self.point
        return {
            "name": self.name,
            "method": after.method,
            "setting": dict(after.setting),
            "accuracy": self.frontier.tested(after),
            "cost": {
                name: {"before": before.costs[name].mean, "after": asdict(cost)}
                for name, cost in after.costs.items()
            },
            "frontier": self.frontier.to_json(),
            "notes": list(self.notes),
        }
