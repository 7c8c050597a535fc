"""Accuracy against cost: points, and which of them no other one beats."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.frontier.budget import Budget
from mlcnn.frontier.costs import label
from mlcnn.table import Shown, Tabular
from mlcnn.training.intervals import Accuracy, Difference, points

__all__ = ["Cost", "Frontier", "Point", "named"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image costs, as a distribution over images.

    Attributes:
        mean: over the images.
        sd: standard deviation; 0 where every image costs the same.
        p95: what 95 of 100 images stay below.
        worst: of any image.
    """

    mean: float
    sd: float
    p95: float
    worst: float

    @classmethod
    def fixed(cls, value: float) -> "Cost":
        """The same for every image."""
        return cls(value, 0.0, value, value)

    @classmethod
    def over(cls, each: NDArray[np.floating], worst: float | None = None) -> "Cost":
        """Of costs image by image, shape (images,).

        Args:
            each: the costs; at least one.
            worst: what an image can cost at most; the largest seen by default.
        """
        if not len(each):
            raise InputError("a distribution of costs needs at least one image")
        largest = float(each.max()) if worst is None else worst
        if each.min() == each.max():  # no spread by rounding
            return cls(float(each[0]), 0.0, float(each[0]), largest)
        p95 = float(np.quantile(each, 0.95))
        return cls(float(each.mean()), float(each.std()), p95, largest)

    @property
    def is_fixed(self) -> bool:
        """Whether every image costs the same."""
        return self.sd == 0 and self.worst == self.mean

    def to_json(self) -> "float | dict[str, float]":
        """A number where every image costs the same, else mean, sd, p95 and worst."""
        return self.mean if self.is_fixed else asdict(self)


def _share(cost: Cost | None, before: Cost) -> str:
    return "" if cost is None else f"{100 * cost.mean / before.mean:.1f}"


def named(method: str, setting: Mapping[str, float | str]) -> str:
    """A method and its setting in words, as ``weights share=0.17``."""
    parts = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in setting.items()
    )
    return f"{method} {', '.join(parts)}".strip()


@dataclass(frozen=True, slots=True)
class Point:
    """One cheaper network.

    Attributes:
        method: what made it; ``original`` for the network as it was.
        setting: of the method, by name.
        costs: by quantity; smaller is better.
        accuracy: on the images that choices are made on.
        change: accuracy less the original's, paired on these images.
        test: accuracy on the test images, on which nothing is chosen; None if not measured.
        test_change: likewise less the original's.
    """

    method: str
    setting: Mapping[str, float | str]
    costs: Mapping[str, Cost]
    accuracy: Accuracy
    change: Difference
    test: Accuracy | None = None
    test_change: Difference | None = None

    @property
    def told(self) -> str:
        """Method and setting in words."""
        return named(self.method, self.setting)

    def beats(self, other: "Point", quantity: str) -> bool:
        """Whether it is at least as good in accuracy and mean cost, and better in one of them."""
        mine, others = self.costs[quantity].mean, other.costs[quantity].mean
        better = mine < others or self.accuracy.top1 > other.accuracy.top1
        return mine <= others and self.accuracy.top1 >= other.accuracy.top1 and better

    def to_json(self) -> dict[str, object]:
        """One entry of ``points``."""
        return {
            "method": self.method,
            "setting": dict(self.setting),
            "costs": {name: cost.to_json() for name, cost in self.costs.items()},
            "validation": _judged(self.accuracy, self.change),
            "test": None if self.test is None else _judged(self.test, self.test_change),
        }


def _judged(accuracy: Accuracy, change: Difference | None) -> dict[str, object]:
    return {
        "top1": accuracy.top1,
        "interval": list(accuracy.interval),
        "images": accuracy.images,
        "change": None if change is None else asdict(change),
    }


@dataclass(frozen=True, slots=True, repr=False)
class Frontier(Tabular):
    """Networks that cost less, beside the one that they were made from.

    Attributes:
        original: the network as it was.
        points: the cheaper ones, in the order in which they were made.
        quantity: the cost that is to be small.
    """

    original: Point
    points: tuple[Point, ...]
    quantity: str

    def __post_init__(self) -> None:
        for point in self:
            if self.quantity not in point.costs:
                raise InputError(
                    f"{point.told}: its {self.quantity} is not known; known are "
                    f"{', '.join(point.costs)}"
                )

    def __iter__(self) -> Iterator[Point]:
        """The original and all points."""
        return iter((self.original, *self.points))

    def front(self, quantity: str | None = None) -> tuple[Point, ...]:
        """The points that no other one beats, the cheapest first; the original may be among them.

        Args:
            quantity: the cost; the frontier's own by default.
        """
        chosen = quantity or self.quantity
        listed = [point for point in self if chosen in point.costs]
        front = [p for p in listed if not any(other.beats(p, chosen) for other in listed)]
        return tuple(sorted(front, key=lambda point: point.costs[chosen].mean))

    def best(self, budget: Budget) -> Point | None:
        """The cheapest point within a budget; None where there is none."""
        within = [point for point in self.points if budget.allows(point.change)]
        return min(within, key=lambda p: p.costs[self.quantity].mean, default=None)

    def nearest(self) -> Point:
        """The point that loses least.

        Raises:
            InputError: there is no point.
        """
        if not self.points:
            raise InputError("there is no point on this curve yet")
        return max(self.points, key=lambda point: point.change.top1)

    def tested(self, point: Point) -> dict[str, object]:
        """Accuracy on the test images before and after, as ``--json`` has it of one network."""
        before, test = self.original.test, point.test
        return {
            "before": None if before is None else before.top1,
            "after": None if test is None else test.top1,
            "interval": None if test is None else list(test.interval),
            "images": None if test is None else test.images,
            "change": None if point.test_change is None else asdict(point.test_change),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for the original and for each point."""
        front = self.front()
        return [{**point.to_json(), "on_front": point in front} for point in self]

    def shown(self) -> Shown:
        """Each network's share of the original's costs, and its accuracy."""
        front, before = self.front(), self.original.costs
        rows = [
            (f"{label(name)}, %", *(_share(point.costs.get(name), before[name]) for point in self))
            for name in before
            if before[name].mean
        ]
        rows += self._judged("validation", [(p.accuracy, p.change) for p in self])
        rows += self._judged("test", [(p.test, p.test_change) for p in self])
        rows.append(("on the front", *("yes" if point in front else "" for point in self)))
        judged = self.original.accuracy
        title = (
            f"accuracy against {label(self.quantity)}; {judged.images:,} images of {judged.dataset}"
        )
        test = self.original.test
        if test is not None:
            title += f", {test.images:,} of {test.dataset}"
        return Shown(title, ("", *(point.told for point in self)), tuple(rows))

    def _judged(
        self, name: str, each: Sequence[tuple[Accuracy | None, Difference | None]]
    ) -> list[tuple[str, ...]]:
        """Rows of what was judged on some images; none where nothing was."""
        if all(accuracy is None for accuracy, _ in each):
            return []
        levels = ("" if a is None else f"{100 * a.top1:.2f}" for a, _ in each)
        spans = (
            "" if a is None else "{:.2f} to {:.2f}".format(*(100 * end for end in a.interval))
            for a, _ in each
        )
        # Of the original there is nothing to tell.
        changes = ("" if c is None or not i else points(c) for i, (_, c) in enumerate(each))
        return [
            (f"{name}, %", *levels),
            ("95 % interval", *spans),
            ("to the original", *changes),
        ]

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {"quantity": self.quantity, "points": self.records()}
