"""The result of an exploration: the designs that no other beats, and how they were found."""

import io
import math
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from mlcnn.codesign.exploration.evaluation import Evaluation
from mlcnn.codesign.exploration.loop_nests import LoopNestTemplate
from mlcnn.codesign.exploration.parameter import value_text
from mlcnn.codesign.exploration.quantities import Limit, Quantity, only_latency
from mlcnn.codesign.exploration.strategies import Strategy
from mlcnn.codesign.exploration.template import Design, Space
from mlcnn.table import Shown, Tabular

__all__ = ["Ending", "Explored", "FrontDesign", "Start", "design_text"]

_PARTS = frozenset({"hardware", "mappings", "forms", "precisions"})
"""What of a design is no number."""
_MAPPING_S = 600.0
"""Seconds that a file allows for each mapping, so that it is proven as it was here."""


@dataclass(frozen=True, slots=True)
class FrontDesign:
    """A design that no other beats.

    Attributes:
        design: its numbers in the space.
        hardware: its values by name.
        found: what the network comes to.
    """

    design: Design
    hardware: dict[str, float | str]
    found: Evaluation

    def to_json(self) -> dict[str, Any]:
        """One entry of ``pareto``."""
        return {
            "latency_cycles": self.found.latency_cycles,
            "energy_pj": self.found.energy_pj,
            "power_w": self.found.power_w,
            "area_um2": self.found.area_um2,
            "edp": self.found.edp,
            "edp_bound": self.found.edp_bound,
            "hardware": self.hardware,
            "mappings": self.found.mappings,
            "forms": self.found.forms,
            "precisions": self.found.precisions,
        }


@dataclass(frozen=True, slots=True)
class Start:
    """A design to improve on.

    Attributes:
        name: of it.
        found: what the network comes to on it.
    """

    name: str
    found: Evaluation

    def bought(self, other: Evaluation) -> str:
        """What another design costs and gains against this one, in words."""
        parts: list[str] = []
        for quantity in Quantity:
            if quantity is Quantity.AREA and None in {self.found.area_um2, other.area_um2}:
                continue
            ratio = quantity.of(other) / quantity.of(self.found)
            if math.isclose(ratio, 1.0, rel_tol=5e-4):
                continue
            change = f"/ {1 / ratio:.3g}" if ratio < 1 else f"x {ratio:.3g}"
            parts.append(f"{quantity} {change}")
        return ", ".join(parts) or "the same"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a search ended.

    Attributes:
        exhausted: nothing was left that it expected to be better.
        proven: every other design is bounded away.
        interrupted: the user ended it.
        seconds: of processor time of all mappings, those of the journal too.
    """

    exhausted: bool
    proven: bool
    interrupted: bool
    seconds: float

    @property
    def told(self) -> str:
        """The same in words."""
        if self.interrupted:
            return "interrupted; with a journal the same command goes on"
        if self.proven:
            return "optimal: every other design is bounded away"
        if self.exhausted:
            return "no other design is expected to be better"
        return "the budget was used up; with a journal the same command goes on"


@dataclass(frozen=True, slots=True, repr=False)
class Explored(Tabular):
    """What ``mlcnn explore`` returns.

    Attributes:
        network: its name.
        space: the designs.
        objectives: what was made small.
        limits: what a design must not be above.
        strategy: how designs were chosen.
        seed: of what was drawn.
        front: the best in the first objective first.
        scored: designs that were mapped.
        candidates: designs within the bounds, as far as those are known without a mapping.
        bound: of a single objective, what no design is below.
        ending: how the search ended.
        start: the design that was to be improved on.
    """

    network: str
    space: Space
    objectives: tuple[Quantity, ...]
    limits: tuple[Limit, ...]
    strategy: Strategy
    seed: int
    front: tuple[FrontDesign, ...]
    scored: int
    candidates: int
    bound: float | None
    ending: Ending
    start: Start | None = None

    @property
    def gap(self) -> float | None:
        """Of a single objective, the share of the bound by which the best may be above it."""
        if not self.bound:  # nothing bounds power but 0
            return None
        return max(self.objectives[0].of(self.front[0].found) / self.bound - 1.0, 0.0)

    def to_json(self) -> dict[str, Any]:
        """What ``mlcnn explore --json`` prints."""
        start = self.start
        return {
            "network": self.network,
            "template": self.space.template.name,
            "space": {one.name: list(one.shown) for one in self.space.parameters},
            "objectives": [str(one) for one in self.objectives],
            "at_most": {str(one.quantity): one.most for one in self.limits},
            "search": str(self.strategy),
            "seed": self.seed,
            "pareto": [one.to_json() for one in self.front],
            "scored": self.scored,
            "candidates": self.candidates,
            "lower_bound": self.bound,
            "gap": self.gap,
            "exhausted": self.ending.exhausted,
            "optimal": self.ending.proven,
            "interrupted": self.ending.interrupted,
            "start": None
            if start is None
            else {
                "name": start.name,
                "latency_cycles": start.found.latency_cycles,
                "energy_pj": start.found.energy_pj,
                "power_w": start.found.power_w,
                "area_um2": start.found.area_um2,
                "edp": start.found.edp,
                "bought": [start.bought(one.found) for one in self.front],
            },
            "seconds": self.ending.seconds,
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each design of the front: its sizes, and all quantities."""
        rows: list[dict[str, Any]] = []
        for one in self.front:
            row = {k: v for k, v in one.to_json().items() if k not in _PARTS}
            rows.append(one.hardware | row)
        return rows

    def shown(self) -> Shown:
        """The front, a row a design."""
        names = [one.name for one in self.space.parameters]
        known = [q for q in Quantity if q is not Quantity.AREA or self._area_known]
        rows = tuple(
            (
                str(number),
                *(value_text(one.hardware[name]) for name in names),
                *(_cell(quantity, one.found) for quantity in known),
                *(() if self.start is None else (self.start.bought(one.found),)),
            )
            for number, one in enumerate(self.front, 1)
        )
        headings = ("", *names, *(_HEADINGS[one] for one in known))
        if self.start is not None:
            headings = (*headings, f"against {self.start.name}")
        bounds = "".join(f", {one}" for one in self.limits)
        title = (
            f"{self.network} on {self.space.template.name}{bounds}: {', '.join(self.objectives)}"
        )
        return Shown(title, headings, rows, self._notes())

    @property
    def _area_known(self) -> bool:
        return all(one.found.area_um2 is not None for one in self.front)

    def _notes(self) -> tuple[str, ...]:
        gap = ""
        if self.gap is not None and not self.ending.proven:
            gap = f"; the best is at most {self.gap:.2%} above the best of the space"
        note = (
            f"{self.scored} of {self.candidates} designs mapped in {self.ending.seconds:.1f} "
            f"CPU-seconds: {self.ending.told}{gap}."
        )
        return (note,)


_HEADINGS = {
    Quantity.LATENCY: "latency, cycles",
    Quantity.ENERGY: "energy, uJ",
    Quantity.POWER: "power, W",
    Quantity.AREA: "area, mm2",
    Quantity.EDP: "EDP, pJ x cycles",
}


def design_text(found: Explored, one: FrontDesign) -> str:
    """A design as the file of its machine, for ``mlcnn evaluate --on``.

    One of loop nests is for ``mlcnn map --on``, too.

    Args:
        found: whose front it is on.
        one: the design.
    """
    template = found.space.template
    document = template.document(found.space.architecture(one.design))
    document |= {
        "name": "-".join([template.name, *map(value_text, one.hardware.values())]),
        "design": {"template": template.name, "values": one.hardware},
    }
    how = "in the fastest way."
    if isinstance(template, LoopNestTemplate) or not only_latency(found.objectives, found.limits):
        document["mapping_pj_per_cycle"] = one.found.energy_pj / one.found.latency_cycles
        how = (
            "with the least energy + mapping_pj_per_cycle * latency, so that the network has the\n"
            "# least energy times latency."
        )
    if isinstance(template, LoopNestTemplate):
        document["mapping_budget_s"] = _MAPPING_S
    for key in [key for key, value in document.items() if isinstance(value, dict)]:
        document[key] = document.pop(key)  # what is long stands last
    told = "; ".join(
        f"{quantity} {quantity.told(quantity.of(one.found))}"
        for quantity in Quantity
        if quantity is not Quantity.AREA or one.found.area_um2 is not None
    )
    text = io.StringIO()
    YAML(typ="rt", pure=True).dump(document, text)
    return f"# {_one_line(found.network)}: {told}\n# Every layer runs {how}\n{text.getvalue()}"


def _one_line(name: str) -> str:
    """A name on one line of a comment."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def _cell(quantity: Quantity, found: Evaluation) -> str:
    """A quantity in its column."""
    return quantity.told(quantity.of(found)).split()[0]
