"""Every mapping of a small nest: the judge of what searches.

Nothing is left out but what cannot matter: a loop of one iteration has no place in an order.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.compiled import Fast, score_fast
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.mapping import Mapping
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = [
    "Best",
    "Goal",
    "Objective",
    "Weighted",
    "best_of_all",
    "every_mapping",
    "factor_choices",
    "keep_masks",
    "places",
]

_PART = 4096
Array = NDArray[np.float64]
Factors = tuple[int, ...]
"""Of one dimension: for each level temporal, then for each level spatial."""


class Objective(StrEnum):
    """What is made small."""

    EDP = "edp"
    ENERGY = "energy"
    LATENCY = "latency"

    def of(self, scored: Fast) -> NDArray[np.float64]:
        """Its value of each mapping: pJ x cycles, pJ or cycles."""
        return self.value(scored.energy_pj, scored.latency_cycles)

    def value(self, energy_pj: Array, latency_cycles: Array) -> Array:
        """Its value; it grows with both."""
        if self is Objective.ENERGY:
            return energy_pj
        if self is Objective.LATENCY:
            return latency_cycles
        return energy_pj * latency_cycles


@dataclass(frozen=True, slots=True)
class Weighted:
    """A sum of energy and latency that is made small.

    Attributes:
        pj_per_cycle: what a cycle weighs.
    """

    pj_per_cycle: float

    def of(self, scored: Fast) -> Array:
        """Its value of each mapping, in pJ."""
        return self.value(scored.energy_pj, scored.latency_cycles)

    def value(self, energy_pj: Array, latency_cycles: Array) -> Array:
        """Its value; it grows with both."""
        return energy_pj + self.pj_per_cycle * latency_cycles


Goal = Objective | Weighted


@dataclass(frozen=True, slots=True)
class Best:
    """The best of all mappings.

    Attributes:
        mapping: the first of the best.
        value: of the objective.
        scored: mappings that were looked at.
    """

    mapping: Mapping
    value: float
    scored: int


def best_of_all(
    nest: LoopNest, architecture: Architecture, objective: Goal, rule: Convention = EXACT
) -> Best:
    """The best mapping, by scoring every one.

    Args:
        nest: the layer, of some dozen multiply-accumulates.
        architecture: the machine, of few levels.
        objective: what is made small.
        rule: what is counted.

    Raises:
        InfeasibleError: none fits.
    """
    best: Best | None = None
    scored = 0
    for batch in every_mapping(nest, architecture):
        fast = score_fast(nest, architecture, batch, rule)
        values = np.where(fast.fits, objective.of(fast), np.inf)
        scored += len(batch)
        index = int(values.argmin())
        if values[index] < (np.inf if best is None else best.value):
            best = Best(batch.mapping(index), float(values[index]), scored)
    if best is None:
        raise InfeasibleError(
            f"{nest.name} on {architecture.name}: none of {scored} mappings fits its memories"
        )
    return Best(best.mapping, best.value, scored)


def every_mapping(nest: LoopNest, architecture: Architecture) -> Iterator[Batch]:
    """Every mapping whose instances fit the fan-outs, whether or not its tiles fit.

    All factors that multiply to the dimensions, at all levels and side by side, all orders, all
    choices of what each level keeps.

    Args:
        nest: the layer.
        architecture: the machine.
    """
    masks = tuple(keep_masks(architecture))
    factors = [
        tuple(_factors(size, places(dim, architecture)))
        for dim, size in zip(nest.dims, nest.sizes, strict=True)
    ]
    columns: list[tuple[tuple[Factors, ...], tuple[tuple[int, ...], ...]]] = []
    for chosen in itertools.product(*factors):
        if _too_many(chosen, architecture):
            continue
        for order in itertools.product(*_orders(chosen, len(architecture.levels))):
            columns.append((chosen, order))
            if len(columns) == _PART:
                yield from _batches(nest, columns, masks)
                columns.clear()
    if columns:
        yield from _batches(nest, columns, masks)


def factor_choices(nest: LoopNest, architecture: Architecture) -> int:
    """Ways to choose all factors, some of which may need more instances than there are.

    Args:
        nest: the layer.
        architecture: the machine.
    """
    return prod(
        sum(1 for _ in _factors(size, places(dim, architecture)))
        for dim, size in zip(nest.dims, nest.sizes, strict=True)
    )


def keep_masks(architecture: Architecture) -> Iterator[NDArray[np.bool_]]:
    """What the levels may keep: the outermost everything, the others any part of what they take.

    Args:
        architecture: the machine.
    """
    choices = [_subsets(level) for level in architecture.levels[1:]]
    for chosen in itertools.product(*choices):
        rows = [(True,) * len(Operand), *chosen]
        yield np.array(rows, bool)


def _subsets(level: Level) -> list[tuple[bool, ...]]:
    options = [(False, True) if operand in level.keeps else (False,) for operand in Operand]
    return list(itertools.product(*options))


def places(dim: str, architecture: Architecture) -> list[bool]:
    """Where a dimension may have a factor: at each level, then side by side below each.

    Levels that keep nothing only spread instances: they have no loops.

    Args:
        dim: the dimension.
        architecture: the machine.
    """
    spread = [
        level.fan_out.size > 1 and (level.fan_out.dims is None or dim in level.fan_out.dims)
        for level in architecture.levels
    ]
    looping = [number == 0 or bool(level.keeps) for number, level in enumerate(architecture.levels)]
    return looping + spread


def _factors(size: int, places: list[bool]) -> Iterator[Factors]:
    """All ways to write ``size`` as a product over the places."""
    if not places:
        if size == 1:
            yield ()
        return
    for factor in range(1, size + 1 if places[0] else 2):
        if size % factor == 0:
            for rest in _factors(size // factor, places[1:]):
                yield (factor, *rest)


def _too_many(chosen: tuple[Factors, ...], architecture: Architecture) -> bool:
    """Whether a level has more instances below it than its fan-out."""
    depth = len(architecture.levels)
    for number, level in enumerate(architecture.levels):
        instances = 1
        for factors in chosen:
            instances *= factors[depth + number]
        if instances > level.fan_out.size:
            return True
    return False


def _orders(chosen: tuple[Factors, ...], depth: int) -> Iterator[list[tuple[int, ...]]]:
    """For each level, the orders of its loops; those of one iteration stand outermost."""
    for level in range(depth):
        looping = [dim for dim, factors in enumerate(chosen) if factors[level] > 1]
        still = tuple(dim for dim in range(len(chosen)) if dim not in looping)
        yield [still + order for order in itertools.permutations(looping)]


def _batches(
    nest: LoopNest,
    columns: list[tuple[tuple[Factors, ...], tuple[tuple[int, ...], ...]]],
    masks: tuple[NDArray[np.bool_], ...],
) -> Iterator[Batch]:
    depth = masks[0].shape[0]
    factors = np.array([chosen for chosen, _ in columns], float).transpose(2, 1, 0)
    order = np.array([order for _, order in columns], np.int64).transpose(1, 2, 0)
    temporal, spatial = (np.ascontiguousarray(part) for part in (factors[:depth], factors[depth:]))
    for mask in masks:
        yield Batch(nest.dims, temporal, spatial, np.ascontiguousarray(order), mask)
