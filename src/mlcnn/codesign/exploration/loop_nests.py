"""Templates of loop nests: a memory hierarchy whose layers the exact mapper maps.

The bounds (``mlcnn.codesign.bounds``) take no search: a network's energy and latency on thousands
of designs in seconds. Where the memories are not tiny, they are a few per cent below the optimum.
"""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat

from mlcnn.accelerators.border import Description, Document
from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.bounds import demand
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.exploration.evaluation import Evaluation, evaluate_network
from mlcnn.codesign.exploration.parameter import Range, Values, ranges_of
from mlcnn.codesign.exploration.pricing import Array, Bounds
from mlcnn.codesign.exploration.template import Template, whole
from mlcnn.codesign.files import load_architecture, read_design
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.codesign.space import accesses
from mlcnn.codesign.timeloop.expression import evaluate
from mlcnn.codesign.writing import architecture_document
from mlcnn.errors import InputError, did_you_mean
from mlcnn.workload import LoopNest

__all__ = ["LoopNestTemplate", "LoopNestTemplateFile", "LoopNests"]

_RATES = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
_FAN_OUT = "fan_out"
_Expression = str | float


class _Level(Document):
    capacity: _Expression | dict[str, _Expression] | None = None
    block_words: _Expression | None = None
    read_bandwidth: _Expression | None = None
    write_bandwidth: _Expression | None = None
    shared_bandwidth: _Expression | None = None
    fan_out: _Expression | None = None


class LoopNestTemplateFile(Document):
    """What the file holds."""

    architecture: str = Field(min_length=1)
    spaces: dict[str, dict[str, Range]] = Field(min_length=1)
    default: dict[str, PositiveFloat]
    levels: dict[str, _Level] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class LoopNestTemplate(Template):
    """A memory hierarchy with sizes left open.

    Attributes:
        architecture: the machine whose levels change.
        levels: for each level that changes, expressions by field.
    """

    architecture: Architecture
    levels: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, description: Description) -> "LoopNestTemplate":
        """The template of a file.

        Raises:
            InputError: the file is wrong.
        """
        file = description.read(LoopNestTemplateFile)
        architecture = load_architecture(file.architecture)
        _check(description, file, architecture)
        spaces = ranges_of(description, file.spaces, file.default)
        levels = {name: one.model_dump(exclude_none=True) for name, one in file.levels.items()}
        content = json.dumps([repr(architecture), levels], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        name = description.path.stem
        template = cls(name, spaces, dict(file.default), digest, architecture, levels)
        template.make(template.default)  # so that a wrong expression is told at once
        return template

    @property
    def clock_mhz(self) -> float:
        """See ``Template``."""
        return self.architecture.clock_mhz

    @property
    def no_area(self) -> str:
        """See ``Template``."""
        if self.architecture.area is not None:
            return ""
        return f"its architecture {self.architecture.name} has no area_um2"

    def area_um2(self, machine: Architecture) -> float | None:
        """See ``Template``."""
        return machine.area_um2

    def read(self, path: Path) -> tuple[tuple[str, Values] | None, Architecture]:
        """See ``Template``."""
        return read_design(path), load_architecture(path)

    def document(self, machine: Architecture) -> dict[str, Any]:
        """See ``Template``."""
        return architecture_document(machine)

    def make(self, values: Values) -> Architecture:
        """See ``Template``."""
        changes: dict[str, dict[str, object]] = {}
        for level in self.architecture.levels:
            if level.name in self.levels:
                fields = self.levels[level.name].items()
                changes[level.name] = {
                    field: self._field(level, field, text, values) for field, text in fields
                }
        return self.architecture.with_levels(changes)

    def _field(self, level: Level, field: str, given: Any, values: Values) -> object:
        if isinstance(given, Mapping):
            return {
                Operand(operand): self._whole(level, field, text, values)
                for operand, text in given.items()
            }
        if field in _RATES:
            return float(evaluate(str(given), _numbers(values)))
        size = self._whole(level, field, given, values)
        return replace(level.fan_out, size=size) if field == _FAN_OUT else size

    def _whole(self, level: Level, field: str, given: Any, values: Values) -> int:
        return whole(self.name, f"{field} of level {level.name}", str(given), values)


def _numbers(values: Values) -> dict[str, float]:
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def _check(
    description: Description, file: LoopNestTemplateFile, architecture: Architecture
) -> None:
    """Look for levels that the architecture has not.

    Raises:
        InputError: there is one.
    """
    names = [level.name for level in architecture.levels]
    for level in file.levels:
        if level not in names:
            raise InputError(
                f"{description.where}:{description.line(('levels', level))}: architecture "
                f"{architecture.name} has no level {level!r}{did_you_mean(level, names)}; its "
                f"levels: {', '.join(names)}"
            )


@dataclass(frozen=True, slots=True)
class LoopNests:
    """A network's layers as loop nests; see ``Network``.

    Attributes:
        groups: its layers, identical ones together.
        rule: what is counted.
    """

    groups: tuple[LayerGroup, ...]
    rule: Convention = EXACT

    @property
    def digest(self) -> str:
        """See ``Network``."""
        content = repr([(replace(one.nest, name=""), len(one.names)) for one in self.groups])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def counted(self) -> str:
        """See ``Network``."""
        return self.rule.name

    def bounds(self, machines: Sequence[Architecture]) -> Bounds:
        """See ``Network``."""
        return Bounds(*_sums(machines, self.groups))

    def refusal(self, machine: Architecture) -> str:
        """See ``Network``: whether a nest fits, only the search tells."""
        del machine
        return ""

    def price(self, machine: Architecture, *, seconds: Callable[[], float]) -> Evaluation:
        """See ``Network``: every layer by its best mapping."""
        return evaluate_network(self.groups, machine, self.rule, seconds=seconds)


def _sums(
    machines: Sequence[Architecture], groups: Sequence[LayerGroup]
) -> tuple[Array, Array, Array, Array]:
    """Least energy and latency of all layers together on every machine, and likely ones."""
    energy, latency, likely_energy, likely_latency = np.zeros((4, len(machines)))
    alike: dict[Hashable, list[int]] = {}
    for number, machine in enumerate(machines):
        alike.setdefault(_but_for_energy(machine), []).append(number)
    for numbers in alike.values():
        some = [machines[number] for number in numbers]
        read, write = _by_level(some, _read_pj), _by_level(some, _write_pj)
        words = np.array([_words(machine) for machine in some])
        bandwidth = some[0].levels[0].shared_bandwidth or math.inf
        for group in groups:
            needed, count = demand(group.nest, some[0]), len(group.names)
            least = needed.energy_pj(read, write, some[0].mac_energy_pj)
            once = float(sum(needed.words))
            traffic = _traffic(group.nest, words)
            # Where memories are large, little more than every word moves, and once.
            more = traffic * np.minimum(traffic / once, 1.0) ** 2
            energy[numbers] += count * least
            latency[numbers] += count * needed.latency_cycles
            likely_energy[numbers] += count * (least + more * read[0])
            likely_latency[numbers] += count * np.maximum(
                needed.latency_cycles, (once + more) / bandwidth
            )
    # Sums in another order may be a few units in the last place above; bounds must not be.
    return energy * (1 - 1e-12), latency, likely_energy, likely_latency


def _words(machine: Architecture) -> float:
    """Words that all memories but the outermost have for an operand: the geometric mean."""
    words = dict.fromkeys(Operand, 1.0)
    for number, level in enumerate(machine.levels[1:], 1):
        for operand in level.keeps:
            words[operand] += machine.instances(number) * (level.words or math.inf)
    return math.prod(words.values()) ** (1 / len(words))


def _traffic(nest: LoopNest, words: Array) -> Array:
    """Words that a convolution moves from and to the outermost level, roughly.

    Twice the products over the root of the words on the chip and of how often a window uses a
    word (Chen et al., "Communication lower bound in convolution accelerators", HPCA 2020).
    """
    reuse = 1.0
    for axis in accesses(nest)[1].windows:
        reuse *= max(nest.sizes[axis.taps] / axis.stride, 1.0)
    return 2.0 * nest.macs / np.sqrt(np.maximum(reuse * words, 1.0))


def _by_level(machines: Sequence[Architecture], of: Callable[[Level], float]) -> Array:
    return np.array([[of(level) for level in machine.levels] for machine in machines]).T


def _read_pj(level: Level) -> float:
    return level.read_pj


def _write_pj(level: Level) -> float:
    return level.write_pj


def _but_for_energy(machine: Architecture) -> Hashable:
    """All that the demand of a nest depends on."""
    outermost = machine.levels[0]
    return (
        outermost.read_bandwidth,
        outermost.write_bandwidth,
        outermost.shared_bandwidth,
        machine.mac_energy_pj,
        tuple((level.keeps, level.fan_out.size, level.fan_out.dims) for level in machine.levels),
    )
