"""Whether a given mapping fits a machine: what is too large, and the smallest change that helps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.counts import tile_words
from mlcnn.codesign.mapping import Mapping as LoopMapping
from mlcnn.workload import LoopNest

__all__ = ["Misfit", "Move", "misfits", "smallest_move"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """What a level has too little of.

    Attributes:
        level: name of the level.
        unit: ``words`` of its capacity, ``instances`` below it, or the dimension that may not be
            spread over these.
        demand: what the mapping needs.
        bound: what there is.
        needed: words of each operand that takes part, by its name; of instances, by dimension.
        lever: the least change of the machine that helps.
    """

    level: str
    unit: str
    demand: int
    bound: int
    needed: Mapping[str, int]
    lever: str

    def __str__(self) -> str:
        if self.unit == "words":
            parts = " + ".join(f"{name} {words:,}" for name, words in self.needed.items())
            total = f" = {self.demand:,}" if len(self.needed) > 1 else ""
            return f"level {self.level} has {self.bound:,} words, and {parts}{total} are needed"
        spread = " x ".join(f"{dim}{factor}" for dim, factor in self.needed.items())
        if self.unit == "instances":
            return (
                f"level {self.level} has {self.bound:,} instances below it, and {spread} = "
                f"{self.demand:,} are needed"
            )
        return f"level {self.level} does not spread {self.unit} over its instances: {spread}"

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        return {
            "level": self.level,
            "unit": self.unit,
            "demand": self.demand,
            "bound": self.bound,
            "needed": dict(self.needed),
            "lever": self.lever,
            "text": str(self),
        }


def misfits(
    nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention
) -> tuple[Misfit, ...]:
    """What does not fit of one mapping, levels from the outermost inwards; nothing where it fits.

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mapping alone.
        rule: how tiles are measured.
    """
    words = tile_words(nest, batch, rule)[:, :, 0]
    found: list[Misfit] = []
    for number, level in enumerate(architecture.levels):
        kept = {
            operand: int(words[number, index])
            for index, operand in enumerate(Operand)
            if batch.keep[number, index]
        }
        found += _too_large(level, kept)
        found += _too_wide(level, batch.dims, batch.spatial[number, :, 0])
    return tuple(found)


def _too_large(level: Level, kept: Mapping[Operand, int]) -> Iterator[Misfit]:
    if isinstance(level.capacity, Mapping):
        for operand, needed in kept.items():
            bound = level.capacity.get(operand, 0)
            if needed > bound:
                lever = f"give {level.name} a capacity of {needed:,} for {operand.value}"
                one = {operand.value: needed}
                yield Misfit(level.name, "words", needed, bound, one, lever)
    elif level.capacity is not None and (total := sum(kept.values())) > level.capacity:
        needed = {operand.value: some for operand, some in kept.items()}
        lever = f"give {level.name} a capacity of {total:,}"
        yield Misfit(level.name, "words", total, level.capacity, needed, lever)


def _too_wide(level: Level, dims: Sequence[str], spatial: NDArray[np.float64]) -> Iterator[Misfit]:
    spread = {dim: int(n) for dim, n in zip(dims, spatial, strict=True) if n > 1}
    total = int(spatial.prod())
    below = level.fan_out
    if total > below.size:
        lever = f"give {level.name} a fan_out of {total:,}"
        yield Misfit(level.name, "instances", total, below.size, spread, lever)
    if below.dims is not None:
        for dim, factor in spread.items():
            if dim not in below.dims:
                lever = f"add {dim} to the dims of the fan_out of {level.name}"
                yield Misfit(level.name, dim, factor, 1, {dim: factor}, lever)


@dataclass(frozen=True, slots=True)
class Move:
    """A factor moved from one loop to another level, after which a mapping fits.

    Attributes:
        dim: its dimension.
        factor: how large it is.
        source: name of the level that it leaves.
        spatial: whether it ran side by side there.
        target: name of the level in whose temporal loops it goes.
        mapping: what comes of it.
    """

    dim: str
    factor: int
    source: str
    spatial: bool
    target: str
    mapping: LoopMapping

    def __str__(self) -> str:
        side = "side-by-side " if self.spatial else ""
        return (
            f"move a factor of {self.factor} of {self.dim} from the {side}loops of {self.source} "
            f"to the loops of {self.target}"
        )


def smallest_move(
    nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention
) -> Move | None:
    """The least factor whose move to an outer level makes a mapping fit; None where none does.

    Of moves by equal factors, the one of the least energy times latency.

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mapping alone.
        rule: what is counted.
    """
    moves = list(_moves(batch, architecture))
    if not moves:
        return None
    index = np.zeros(len(moves), np.int64)
    tried = batch.at(index)
    for column, (dim, factor, source, spatial, target) in enumerate(moves):
        (tried.spatial if spatial else tried.temporal)[source, dim, column] /= factor
        tried.temporal[target, dim, column] *= factor
        if batch.temporal[target, dim, 0] == 1:  # a new loop stands outermost
            tried.order[target, :, column] = _first(dim, batch.order[target, :, 0])
    scored = score_fast(nest, architecture, tried, rule)
    factors = np.array([move[1] for move in moves], float)
    factors[~scored.fits] = np.inf
    least = factors.min()
    if not np.isfinite(least):
        return None
    products = np.where(factors == least, scored.energy_pj * scored.latency_cycles, np.inf)
    best = int(products.argmin())
    dim, factor, source, spatial, target = moves[best]
    names = [level.name for level in architecture.levels]
    mapping = tried.mapping(best)
    return Move(batch.dims[dim], factor, names[source], spatial, names[target], mapping)


def _moves(batch: Batch, architecture: Architecture) -> Iterator[tuple[int, int, int, bool, int]]:
    """Dimension, factor, level, whether side by side there, and level to go to."""
    for level in range(len(architecture.levels)):
        for spatial, array in ((False, batch.temporal), (True, batch.spatial)):
            for dim in range(len(batch.dims)):
                loop = int(array[level, dim, 0])
                for factor in range(2, loop + 1):
                    if loop % factor == 0:
                        # Side by side, it may also stay at its level, one after the other.
                        for target in range(level + spatial):
                            yield dim, factor, level, spatial, target


def _first(dim: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[dim], order[order != dim]])
