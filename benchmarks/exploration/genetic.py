"""A genetic algorithm over the mappings of one layer.

Parents by tournaments of two; a child takes each dimension's factors, each level's order and each
level's choice of what it keeps from one of both; primes move, two loops of a level change places, a
level keeps an operand or lets it go. What does not fit is repaired. The best of parents and
children stay, those of equal value once, so that a population does not become copies of one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.exploration.mappings import Genes, MappingSpace

__all__ = ["Evolution", "Evolved", "children", "evolve"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evolution:
    """Settings.

    Attributes:
        population: mappings.
        generations: after the first; 0 for random mappings alone.
        moves: primes of a child that move, on average.
        crossed: share of children with two parents.
        swapped: share of children of which two loops change places.
        flipped: how likely each choice of what is kept changes.
        fresh: share of the population that is drawn anew where there is one to start from.
    """

    population: int = 50
    generations: int = 20
    moves: float = 1.5
    crossed: float = 0.7
    swapped: float = 0.5
    flipped: float = 0.05
    fresh: float = 0.2


@dataclass(frozen=True, slots=True)
class Evolved:
    """A population, the best first.

    Attributes:
        genes: mappings.
        energy_pj: of each.
        latency_cycles: of each.
    """

    genes: Genes
    energy_pj: Array
    latency_cycles: Array


def evolve(
    space: MappingSpace,
    worth: Callable[[Array, Array], Array],
    settings: Evolution,
    start: Genes | None = None,
) -> tuple[Evolved, int]:
    """A population after some generations.

    Args:
        space: of the layer and the machine.
        worth: what is made small, of energies and latencies.
        settings: of the algorithm.
        start: mappings of the same layer on a machine alike.

    Returns:
        The population, and how many mappings were scored.
    """
    genes = space.drawn(settings.population)
    if start is not None:
        old = round(settings.population * (1 - settings.fresh))
        kept = space.repaired(start.at(np.arange(min(old, len(start)))))
        genes = kept.joined(genes.at(np.arange(settings.population - len(kept))))
    found = _ranked(genes, *space.scored(genes), worth, settings.population)
    scored = len(genes)
    for _ in range(settings.generations):
        born = children(space, found.genes, settings)
        energy, latency = space.scored(born)
        scored += len(born)
        found = _ranked(
            found.genes.joined(born),
            np.append(found.energy_pj, energy),
            np.append(found.latency_cycles, latency),
            worth,
            settings.population,
        )
    return found, scored


def _ranked(
    genes: Genes, energy: Array, latency: Array, worth: Callable[[Array, Array], Array], most: int
) -> Evolved:
    _, index = np.unique(worth(energy, latency), return_index=True)
    index = index[:most]
    return Evolved(genes.at(index), energy[index], latency[index])


def children(space: MappingSpace, parents: Genes, settings: Evolution) -> Genes:
    """As many mappings as the settings say, that fit.

    Args:
        space: of the layer and the machine.
        parents: the best first.
        settings: of the algorithm.
    """
    many = settings.population
    first, second = (
        parents.at(space.generator.integers(len(parents), size=(2, many)).min(0)) for _ in range(2)
    )
    both = space.generator.random(many) < settings.crossed
    dims, orders, keeps = (
        both & (space.generator.random((count, many)) < 0.5)
        for count in (len(space.nest.dims), space.depth, space.depth)
    )
    born = Genes(
        np.where(dims[space.dim], second.places, first.places),
        np.where(orders[:, None], second.order, first.order),
        np.where(keeps[:, None], second.keep, first.keep),
    )
    _move_primes(space, born, settings.moves)
    _swap_loops(space, born, np.flatnonzero(space.generator.random(many) < settings.swapped))
    flips = space.keepable[:, :, None] & (
        space.generator.random(born.keep.shape) < settings.flipped
    )
    flips[0] = False
    np.logical_xor(born.keep, flips, out=born.keep)
    return space.repaired(born)


def _move_primes(space: MappingSpace, genes: Genes, moves: float) -> None:
    rate = moves / max(len(space.prime), 1)
    moved = space.generator.random(genes.places.shape) < rate
    np.copyto(genes.places, space.places(len(genes)), where=moved)


def _swap_loops(space: MappingSpace, genes: Genes, columns: NDArray[np.int64]) -> None:
    """Let two dimensions change places in a level's order, such as have loops there if any do."""
    levels = space.generator.choice(space.looping, len(columns))
    active = space.owner @ (genes.places[:, columns] == levels) > 0
    keys = space.generator.random(active.shape) + active
    one, other = np.argsort(-keys, 0)[:2] if len(keys) > 1 else np.zeros((2, len(columns)), int)
    order = genes.order[levels, :, columns]  # (columns, dims)
    first, second = ((order == dim[:, None]).argmax(1) for dim in (one, other))
    genes.order[levels, first, columns] = other
    genes.order[levels, second, columns] = one
