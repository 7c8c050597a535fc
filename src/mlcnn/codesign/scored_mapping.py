"""One mapping of one layer on one machine with its score, as results show it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.breakdown import Breakdown, Moved, break_down
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.mapping import Mapping
from mlcnn.codesign.scorer import Score, score
from mlcnn.table import Shown, Tabular
from mlcnn.workload import LoopNest

__all__ = ["ScoredMapping", "scored_mapping"]


@dataclass(frozen=True, slots=True, repr=False)
class ScoredMapping(Tabular):
    """A mapping scored.

    Attributes:
        nest: the layer.
        computed: what the mapping computes: the layer, or a larger one with its padding.
        architecture: the machine.
        rule: what is counted.
        mapping: it.
        batch: it alone, as arrays.
        score: latency, energy and counts.
    """

    nest: LoopNest
    computed: LoopNest
    architecture: Architecture
    rule: Convention
    mapping: Mapping
    batch: Batch = field(repr=False)
    score: Score = field(repr=False)

    @property
    def breakdown(self) -> Breakdown:
        """Its cost in parts."""
        return break_down(self.computed, self.architecture, self.batch, self.score, self.rule)

    @property
    def text(self) -> str:
        """The mapping in one line."""
        return self.mapping.text(self.architecture)

    @property
    def latency_cycles(self) -> float:
        """Cycles."""
        return float(self.score.latency_cycles[0])

    @property
    def energy_pj(self) -> float:
        """Energy."""
        return float(self.score.energy_pj[0])

    @property
    def edp(self) -> float:
        """Energy times latency, pJ x cycles."""
        return self.energy_pj * self.latency_cycles

    @property
    def utilisation(self) -> float:
        """Share of all units' cycles that products of the layer take, without padding."""
        units = self.architecture.instances(len(self.architecture.levels))
        return self.nest.macs / (self.latency_cycles * units)

    def loops(self) -> tuple[str, ...]:
        """The loop nest as lines: of each level what it keeps, then its loops, outermost first."""
        tiles: dict[str, list[Moved]] = {}
        for one in self.breakdown.moved:
            tiles.setdefault(one.level, []).append(one)
        return tuple(self._lines(tiles))

    def _lines(self, tiles: dict[str, list[Moved]]) -> Iterator[str]:
        depth = 1
        for level, loops in zip(self.architecture.levels, self.mapping.levels, strict=True):
            yield f"{level.name}: {_kept(level, tiles.get(level.name, []))}"
            for dim, factor in loops.temporal:
                if factor > 1:
                    yield f"{'  ' * depth}for {dim} in {factor}"
                    depth += 1
            side = [f"{dim} in {factor}" for dim, factor in loops.spatial if factor > 1]
            if side:
                yield f"{'  ' * depth}side by side {', '.join(side)}"
                depth += 1
        yield f"{'  ' * depth}multiply, accumulate"

    def records(self) -> list[dict[str, Any]]:
        """A row for each level and operand that it keeps: words and energy."""
        return [
            {"level": one.level, "operand": one.operand.value, **one.to_json()}
            for one in self.breakdown.moved
        ]

    def shown(self) -> Shown:
        """Words by level, operand and direction."""
        rows = tuple(
            (
                f"{one.level} {one.operand.value}",
                *(f"{words:,.0f}" for words in (one.reads, one.fills, one.updates)),
                f"{one.energy_pj / 1e6:,.4g}",
            )
            for one in self.breakdown.moved
        )
        title = (
            f"{self.nest.name} on {self.architecture.name}: {self.latency_cycles:,.0f} cycles, "
            f"{self.energy_pj / 1e6:,.4g} uJ, {self.told}"
        )
        return Shown(title, ("", "reads", "fills", "updates", "uJ"), rows, (self.text,))

    @property
    def told(self) -> str:
        """What is known of it, in words."""
        return "as it was given"

    def to_json(self) -> dict[str, object]:
        """What any scored mapping prints as ``--json``."""
        parts = self.breakdown
        bound = parts.bound
        return {
            "layer": self.nest.name,
            "sizes": dict(zip(self.nest.dims, self.nest.sizes, strict=True)),
            "macs": self.nest.macs,
            "macs_with_padding": parts.macs,
            "architecture": self.architecture.name,
            "convention": self.rule.name,
            "mapping": self.text,
            "levels": self._levels(),
            "latency_cycles": self.latency_cycles,
            "energy_pj": self.energy_pj,
            "edp": self.edp,
            "utilisation": self.utilisation,
            "bound_by": bound.to_json(),
            "limits": [one.to_json() for one in parts.limits],
            "energy_parts_pj": dict(parts.energies),
            "accesses": parts.accesses(),
        }

    def _levels(self) -> dict[str, object]:
        """The mapping as a file of mappings has it under ``levels``."""
        return {
            level.name: {
                "keep": [operand.value for operand in Operand if operand in loops.keep],
                "temporal": [f"{dim}{factor}" for dim, factor in loops.temporal if factor > 1],
                "spatial": [f"{dim}{factor}" for dim, factor in loops.spatial if factor > 1],
            }
            for level, loops in zip(self.architecture.levels, self.mapping.levels, strict=True)
        }


def scored_mapping(
    nest: LoopNest, architecture: Architecture, mapping: Mapping, rule: Convention
) -> ScoredMapping:
    """Score a mapping that is given; whether it fits is not looked at.

    Args:
        nest: the layer.
        architecture: the machine.
        mapping: its factors make up the dimensions.
        rule: what is counted.

    Raises:
        InputError: the mapping keeps what a level does not take, or counts leave the exact range.
    """
    batch = Batch.of([mapping], nest)
    scored = score(nest, architecture, batch, rule)
    return ScoredMapping(nest, nest, architecture, rule, mapping, batch, scored)


def _kept(level: Level, tiles: list[Moved]) -> str:
    """What a level keeps of how much."""
    if not tiles:
        return "keeps nothing"
    words = ", ".join(f"{one.operand.value} {one.tile_words:,.0f}" for one in tiles)
    if level.capacity is None:
        return f"keeps {words} words"
    total = sum(one.tile_words for one in tiles)
    return f"keeps {words} of {level.words:,} words ({total / level.words:.1%})"
