"""One mapping's cost in its parts: words and energy of each level and operand, what bounds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

import numpy as np

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.counts import tile_words
from mlcnn.codesign.scorer import Score, bandwidth_cycles, whole_blocks
from mlcnn.workload import LoopNest

__all__ = ["ARITHMETIC", "Breakdown", "Limit", "Moved", "break_down"]

ARITHMETIC = "arithmetic"
"""What stands for the multipliers where levels are named."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one level does with one operand that it keeps, over all its instances.

    Attributes:
        level: name of the level.
        operand: the operand.
        tile_words: words of the tile of one instance.
        reads: words that the levels below are sent.
        fills: words that come from above.
        updates: words that come from below.
        energy_pj: of them all, in whole blocks.
        word_bits: bits of a word.
    """

    level: str
    operand: Operand
    tile_words: float
    reads: float
    fills: float
    updates: float
    energy_pj: float
    word_bits: int

    @property
    def words(self) -> float:
        """In all directions."""
        return self.reads + self.fills + self.updates

    def to_json(self) -> dict[str, float]:
        """Words and energy by name."""
        return {
            "tile_words": self.tile_words,
            "reads": self.reads,
            "fills": self.fills,
            "updates": self.updates,
            "energy_pj": self.energy_pj,
        }


@dataclass(frozen=True, slots=True)
class Limit:
    """Cycles that one part needs.

    Attributes:
        level: name of the level, or ``ARITHMETIC``.
        words: of which words it is the bandwidth: read, written, or both; ``products`` for the
            arithmetic.
        bandwidth: of one instance, words a cycle; for the arithmetic products a cycle of all units
            that work.
        cycles: that it needs.
    """

    level: str
    words: str
    bandwidth: float
    cycles: float

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        return {
            "level": self.level,
            "words": self.words,
            "bandwidth": self.bandwidth,
            "cycles": self.cycles,
        }

    def __str__(self) -> str:
        if self.level == ARITHMETIC:
            return f"the arithmetic ({self.bandwidth:,.0f} products a cycle)"
        both = "read and written" if self.words == "both" else self.words
        return f"{self.level}'s bandwidth of {self.bandwidth:g} words a cycle, {both}"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A mapping's cost.

    Attributes:
        moved: of each level, outermost first, each operand that it keeps.
        limits: the arithmetic and all bandwidths, slowest first.
        mac_energy_pj: of the arithmetic.
        macs: products that are computed.
        units: arithmetic units that there are.
    """

    moved: tuple[Moved, ...]
    limits: tuple[Limit, ...]
    mac_energy_pj: float
    macs: int
    units: int

    @property
    def latency_cycles(self) -> float:
        """Cycles of the slowest part."""
        return self.limits[0].cycles

    @property
    def energy_pj(self) -> float:
        """Energy of all parts."""
        return fsum((self.mac_energy_pj, *(one.energy_pj for one in self.moved)))

    @property
    def bound(self) -> Limit:
        """What the latency is bound by: the arithmetic where it needs as long as any."""
        slowest = [one for one in self.limits if one.cycles == self.latency_cycles]
        return next((one for one in slowest if one.level == ARITHMETIC), slowest[0])

    @property
    def energies(self) -> Mapping[str, float]:
        """Energy in pJ by level, and of the arithmetic; most first."""
        parts: dict[str, float] = {ARITHMETIC: self.mac_energy_pj}
        for one in self.moved:
            parts[one.level] = parts.get(one.level, 0.0) + one.energy_pj
        return dict(sorted(parts.items(), key=lambda part: -part[1]))

    def accesses(self) -> dict[str, dict[str, dict[str, float]]]:
        """By level and operand, as ``--json`` has it."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for one in self.moved:
            result.setdefault(one.level, {})[one.operand.value] = one.to_json()
        return result


def break_down(
    nest: LoopNest, architecture: Architecture, batch: Batch, scored: Score, rule: Convention
) -> Breakdown:
    """The parts of one mapping's cost.

    Args:
        nest: what is computed.
        architecture: the machine.
        batch: the mapping alone.
        scored: its score.
        rule: what was counted.
    """
    counts = scored.counts
    tiles = tile_words(nest, batch, rule)
    moved: list[Moved] = []
    for number, level in enumerate(architecture.levels):
        instances = float(counts.instances[number, 0])
        for index, operand in enumerate(Operand):
            if not batch.keep[number, index]:
                continue
            one = tuple(
                array[number, index] for array in (counts.reads, counts.fills, counts.updates)
            )
            reads, fills, updates = (
                float(whole_blocks(level.block_words, words)[0]) for words in one
            )
            energy = reads * level.read_pj + (fills + updates) * level.write_pj
            moved.append(
                Moved(
                    level.name, operand, float(tiles[number, index, 0]),
                    *(float(words[0]) * instances for words in one),
                    energy_pj=energy * instances, word_bits=level.word_bits,
                )
            )  # fmt: skip
    macs = float(counts.macs[0])
    return Breakdown(
        tuple(moved), _limits(architecture, scored), macs * architecture.mac_energy_pj,
        int(macs), architecture.instances(len(architecture.levels)),
    )  # fmt: skip


def _limits(architecture: Architecture, scored: Score) -> tuple[Limit, ...]:
    counts = scored.counts
    cycles = float(counts.cycles[0])
    found = [Limit(ARITHMETIC, "products", float(counts.macs[0]) / cycles, cycles)]
    for number, words, needed in bandwidth_cycles(architecture, counts):
        level = architecture.levels[number]
        bandwidths = {
            "read": level.read_bandwidth,
            "written": level.write_bandwidth,
            "both": level.shared_bandwidth,
        }
        found.append(Limit(level.name, words, bandwidths[words] or np.inf, float(needed[0])))
    return tuple(sorted(found, key=lambda one: -one.cycles))
