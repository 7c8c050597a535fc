"""Mappings and statistics as files: what was found goes back to Timeloop, or to a reader."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from mlcnn.codesign.architecture import Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import TIMELOOP_2024, Convention
from mlcnn.codesign.counts import tile_words
from mlcnn.codesign.mapping import LevelLoops, Mapping
from mlcnn.codesign.scorer import score
from mlcnn.codesign.timeloop.machine import Machine, Target
from mlcnn.codesign.timeloop.problem import Problem
from mlcnn.errors import UnsupportedError

__all__ = ["mapping_text", "statistics_text"]

Version = Literal["0.3", "0.4"]
_PLAIN = re.compile(r"[A-Za-z_][\w.]*")


def mapping_text(
    mapping: Mapping, machine: Machine, problem: Problem, version: Version = "0.4"
) -> str:
    """A mapping as YAML that Timeloop reads.

    Args:
        mapping: of the problem on the machine.
        machine: with the names of its levels.
        problem: with the names of its data spaces.
        version: ``0.4``: factors and permutations as lists, data spaces by ``dataspace``; ``0.3``:
            as text, and by ``datatype``.

    Raises:
        UnsupportedError: a loop stands where Timeloop's form has no place for one.
    """
    named = {target.level for target in machine.targets.values()}
    for number, level in enumerate(mapping.levels):
        if number not in named and any(factor > 1 for _, factor in level.temporal):
            name = machine.architecture.levels[number].name
            shown = " ".join(f"{dim}{factor}" for dim, factor in level.temporal if factor > 1)
            raise UnsupportedError(
                f"mapping: {name} has the loops {shown}, and it only spreads over instances: "
                "Timeloop has no loops in turn there; move them to the level outside or inside"
            )
    lines = ["mapping:"]
    for name, target in machine.targets.items():
        for directive in _directives(name, target, mapping, problem, version):
            lines += [f"- {directive[0]}", *(f"  {line}" for line in directive[1:])]
    return "\n".join(lines) + "\n"


def _directives(
    name: str, target: Target, mapping: Mapping, problem: Problem, version: str
) -> Iterator[list[str]]:
    start = f"target: {_scalar(name)}"
    if target.level is not None:
        loops = mapping.levels[target.level]
        keep = [problem.spaces[one] for one in Operand if one in loops.keep]
        gone = [problem.spaces[one] for one in Operand if one not in loops.keep]
        kind = "dataspace" if version == "0.4" else "datatype"
        yield [start, f"type: {kind}", f"keep: {_names(keep)}", f"bypass: {_names(gone)}"]
        order = [dim for dim, factor in reversed(loops.temporal) if factor > 1]
        factors = dict(loops.temporal)
        yield [start, "type: temporal", *_nest(factors, order, problem.nest.dims, version)]
    if target.x is None and target.y is None:
        return
    first = _spread(target.x, mapping.levels)
    second = _spread(target.y, mapping.levels)
    if twice := [dim for dim in first if dim in second]:
        raise UnsupportedError(
            f"mapping: {twice[0]} is spread along both axes at {name}, and Timeloop has one factor "
            "of a dimension there; spread it along one"
        )
    lines = _nest({**first, **second}, [*first, *second], problem.nest.dims, version)
    yield [start, "type: spatial", *lines, f"split: {len(first)}"]


def _spread(number: int | None, levels: Sequence[LevelLoops]) -> dict[str, int]:
    """Factors of the instances below a level."""
    return {} if number is None else {d: n for d, n in levels[number].spatial if n > 1}


def _nest(
    factors: dict[str, int], order: list[str], dims: tuple[str, ...], version: str
) -> list[str]:
    """Factors of all dimensions, and the order from the innermost outwards."""
    given = [f"{dim}={factors.get(dim, 1)}" for dim in dims]
    whole = [*order, *(dim for dim in dims if dim not in order)]
    if version == "0.4":
        return [f"factors: [{', '.join(given)}]", f"permutation: [{', '.join(whole)}]"]
    return [f"factors: {' '.join(given)}", f"permutation: {''.join(whole)}"]


def _names(names: list[str]) -> str:
    return f"[{', '.join(map(_scalar, names))}]"


def _scalar(text: str) -> str:
    """Text in YAML: as it is where it can be nothing else."""
    return text if _PLAIN.fullmatch(text) and len(text) > 1 else json.dumps(text)


def statistics_text(
    mapping: Mapping, machine: Machine, problem: Problem, rule: Convention = TIMELOOP_2024
) -> str:
    """What a mapping costs, as YAML.

    The numbers are those of Timeloop's ``stats.txt``, by its words: cycles and energy of the whole,
    and for each level and each data space that it keeps the words that a tile takes, reads,
    fills and updates of one instance, and the energy of all; levels from the outermost inwards. Of
    leakage and networks there is nothing.

    Args:
        mapping: of the problem on the machine.
        machine: with the names of its levels.
        problem: with the names of its data spaces.
        rule: what is counted.
    """
    nest, architecture = problem.nest, machine.architecture
    batch = Batch.of([mapping], nest)
    scored, tiles = score(nest, architecture, batch, rule), tile_words(nest, batch, rule)
    counts = scored.counts
    lines = [
        f"convention: {rule.name}",
        f"architecture: {_scalar(architecture.name)}",
        f"problem: {_scalar(nest.name)}",
        f"cycles: {int(scored.latency_cycles[0])}",
        f"energy_pj: {float(scored.energy_pj[0])!r}",
        f"computes: {int(counts.macs[0])}",
        f"utilized_arithmetic: {int(counts.instances[-1, 0])}",
        f"arithmetic_energy_pj: {float(counts.macs[0] * architecture.mac_energy_pj)!r}",
        "levels:",
    ]
    for number, level in enumerate(architecture.levels):
        lines += [f"  {_scalar(level.name)}:"]
        lines += [f"    utilized_instances: {int(counts.instances[number, 0])}"]
        for operand, name in enumerate(problem.spaces[one] for one in Operand):
            if not batch.keep[number, operand]:
                continue
            read, fill, update = (
                float(array[number, operand, 0])
                for array in (counts.reads, counts.fills, counts.updates)
            )
            energy = _energy(level, read, fill, update) * counts.instances[number, 0]
            lines += [
                f"    {_scalar(name)}:",
                f"      utilized_capacity: {int(tiles[number, operand, 0])}",
                f"      reads: {int(read)}",
                f"      fills: {int(fill)}",
                f"      updates: {int(update)}",
                f"      energy_pj: {float(energy)!r}",
            ]
    return "\n".join(lines) + "\n"


def _energy(level: Level, read: float, fill: float, update: float) -> float:
    """Of one instance: words in whole blocks."""
    blocks = [float(np.ceil(words / level.block_words)) * level.block_words
              for words in (read, fill, update)]  # fmt: skip
    return blocks[0] * level.read_pj + (blocks[1] + blocks[2]) * level.write_pj
