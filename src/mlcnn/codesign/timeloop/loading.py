"""Timeloop's files, one or several, as what they describe."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.mapping import Mapping
from mlcnn.codesign.timeloop.document import Node, read_document
from mlcnn.codesign.timeloop.expression import Number
from mlcnn.codesign.timeloop.machine import Machine, build_machine, plain_machine
from mlcnn.codesign.timeloop.mapping import read_mapping
from mlcnn.codesign.timeloop.problem import DEFAULT_SPACES, VERSIONS, Problem, read_problem
from mlcnn.codesign.timeloop.rules import kept, read_constraints
from mlcnn.codesign.timeloop.stages import Kind, Stage, numbers, stages_of
from mlcnn.codesign.timeloop.tables import read_areas, read_energies
from mlcnn.errors import InputError, UnsupportedError, did_you_mean
from mlcnn.workload import LoopNest, Projection

__all__ = [
    "TOP_KEYS",
    "Timeloop",
    "is_timeloop",
    "load_timeloop",
    "read_constraints_file",
    "read_mapping_file",
    "read_problem_file",
    "read_timeloop",
]

_LISTS = ("architecture_constraints", "mapspace_constraints", "constraints")
_SKIPPED = (
    "ERT_summary", "ART_summary", "compound_components", "components", "globals", "mapper",
    "mapspace", "dumped_by_timeloop_front_end",
)  # fmt: skip
"""What says nothing of the layer, the machine or the mapping."""
_REFUSED = ("sparse_optimizations", "layout")
TOP_KEYS = ("architecture", "problem", "mapping", "ERT", "ART", "variables", *_LISTS)
"""Keys that a file of Timeloop's may have on its outermost level."""
_TOP = re.compile(rf"^(?:{'|'.join(TOP_KEYS)})\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Timeloop:
    """What files describe.

    Attributes:
        machine: the architecture, and what its names mean.
        problem: the loops, and names of data spaces; None where no file has it.
        mapping: None where no file has it.
        constraints: None where there is no problem, whose dimensions they would name.
        area_um2: of one instance of each component; empty where there is no table of areas.
        total_area_um2: of all instances.
    """

    machine: Machine
    problem: Problem | None
    mapping: Mapping | None
    constraints: Constraints | None
    area_um2: dict[str, float]
    total_area_um2: float


def load_timeloop(
    *paths: str | Path,
) -> tuple[Architecture, LoopNest | None, Mapping | None, Constraints | None]:
    """An architecture with its energies, and what else Timeloop's files have.

    Args:
        paths: of the files: an architecture, its ERT, and if wanted a problem, a mapping and
            constraints, in any order; one file may have several of them.

    Returns:
        The architecture, the loop nest, the mapping and the constraints; None for what is not
        there. Constraints come with every problem: the architecture may have some, too.

    Raises:
        InputError: a file cannot be read or is wrong: the message has file, line and key.
        UnsupportedError: it has parts that are not scored.
    """
    read = read_timeloop(*paths)
    nest = None if read.problem is None else read.problem.nest
    return read.machine.architecture, nest, read.mapping, read.constraints


def is_timeloop(path: str | Path) -> bool:
    """Whether a file has one of the outermost keys of Timeloop's; False if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return _TOP.search(text) is not None


def read_timeloop(*paths: str | Path, nest: LoopNest | None = None) -> Timeloop:
    """As ``load_timeloop``, with the names of levels and data spaces and with areas.

    Args:
        paths: of the files.
        nest: the problem, where no file has one; its data spaces are Weights, Inputs and Outputs.

    Raises:
        InputError: a file cannot be read or is wrong: the message has file, line and key.
        UnsupportedError: it has parts that are not scored.
    """
    parts, rules = _parts([read_document(Path(path)) for path in paths])
    if "architecture" not in parts:
        raise InputError(
            f"Timeloop files {', '.join(map(str, paths))}: none has the key 'architecture'"
        )
    names = _variables(parts.get("variables"))
    problem = None if nest is None else Problem(nest, dict(DEFAULT_SPACES))
    problem = read_problem(parts["problem"], names) if "problem" in parts else problem
    stages, inner = stages_of(parts["architecture"], names)
    machine = _machine(parts, stages, problem, inner=inner)
    if problem is None:
        for key in ("mapping", *_LISTS):
            found = parts.get(key) or next((n for n in rules if n.place == key), None)
            if found is not None:
                raise found.wrong("it needs a problem, whose dimensions it names; give its file")
        return Timeloop(machine, None, None, None, *_areas(parts.get("ART"), stages))
    mapping = None
    if "mapping" in parts:
        mapping = read_mapping(parts["mapping"], machine, problem)
    constraints = read_constraints(rules, machine, problem)
    return Timeloop(machine, problem, mapping, constraints, *_areas(parts.get("ART"), stages))


def read_problem_file(path: str | Path) -> Problem:
    """The problem of a file, for a machine that is no file of Timeloop's.

    Args:
        path: of a file with the key ``problem``.

    Raises:
        InputError: the file cannot be read or is wrong: the message has file, line and key.
        UnsupportedError: it has parts that are not scored.
    """
    parts, _ = _parts([read_document(Path(path))])
    return read_problem(_only(parts, "problem", path), _variables(parts.get("variables")))


def read_mapping_file(
    path: str | Path, architecture: Architecture | Machine, problem: LoopNest | Problem
) -> Mapping:
    """The mapping of a file.

    Args:
        path: of a file with the key ``mapping``.
        architecture: what it maps to; its levels go by their own names.
        problem: what it maps; the data spaces of a nest are Weights, Inputs and Outputs.

    Raises:
        InputError: the file cannot be read or is wrong: the message has file, line and key.
        UnsupportedError: it has parts that are not scored.
    """
    parts, _ = _parts([read_document(Path(path))])
    return read_mapping(_only(parts, "mapping", path), *_named(architecture, problem))


def read_constraints_file(
    path: str | Path, architecture: Architecture | Machine, problem: LoopNest | Problem
) -> Constraints:
    """The constraints of a file.

    Args:
        path: of a file with constraints of the architecture or of the space of mappings.
        architecture: what they are for; its levels go by their own names.
        problem: what is mapped; the data spaces of a nest are Weights, Inputs and Outputs.

    Raises:
        InputError: the file cannot be read or is wrong: the message has file, line and key.
        UnsupportedError: it has parts that mappings cannot be held to here.
    """
    _, rules = _parts([read_document(Path(path))])
    if not rules:
        raise InputError(f"Timeloop file {path}: it has no constraints ({', '.join(_LISTS)})")
    return read_constraints(rules, *_named(architecture, problem))


def _only(parts: dict[str, Node], key: str, path: str | Path) -> Node:
    if key not in parts:
        known = ", ".join(parts) or "none"
        raise InputError(f"Timeloop file {path}: it has no key {key!r}; its keys: {known}")
    return parts[key]


def _named(
    architecture: Architecture | Machine, problem: LoopNest | Problem
) -> tuple[Machine, Problem]:
    """Both with names: levels by their own, data spaces as a convolution's."""
    machine = (
        plain_machine(architecture) if isinstance(architecture, Architecture) else architecture
    )
    named = Problem(problem, dict(DEFAULT_SPACES)) if isinstance(problem, LoopNest) else problem
    return machine, named


def _parts(documents: Sequence[Node]) -> tuple[dict[str, Node], list[Node]]:
    """What stands behind each outermost key; constraints may come several times."""
    parts: dict[str, Node] = {}
    rules: list[Node] = []
    for document in documents:
        for key, node in document.table().items():
            if key in _REFUSED and node.value:
                raise UnsupportedError(f"{node.where}: {key} is not scored")
            if key not in (*TOP_KEYS, *_SKIPPED, *_REFUSED):
                hint = did_you_mean(key, TOP_KEYS, otherwise=f"; known: {', '.join(TOP_KEYS)}")
                raise InputError(f"{node.where}: unknown key {key!r}{hint}")
            if key in _LISTS:
                rules.append(node)
            elif key == "mapping" and not node.value:
                continue
            elif key in parts and key not in _SKIPPED:
                raise node.wrong(f"it stands in {parts[key].where} too; give one")
            else:
                parts[key] = node
    return parts, rules


def _variables(node: Node | None) -> dict[str, Number]:
    table = {} if node is None else node.table()
    if "version" in table:
        table.pop("version").version(VERSIONS)
    return numbers(table, {})


def _machine(
    parts: dict[str, Node], stages: list[Stage], problem: Problem | None, *, inner: bool
) -> Machine:
    names = problem or Problem(_NOTHING, dict(DEFAULT_SPACES))

    def keeps(stage: Stage) -> tuple[Operand, ...]:
        return kept(stage, names)

    energies = read_energies(parts["ERT"]) if "ERT" in parts else None
    return build_machine(parts["architecture"], stages, keeps, energies, inner=inner)


_NOTHING = LoopNest("nothing", (), (), Projection(()), Projection(()), Projection(()))


def _areas(node: Node | None, stages: Sequence[Stage]) -> tuple[dict[str, float], float]:
    """Of each component that the architecture has, and of all instances."""
    if node is None:
        return {}, 0.0
    areas, instances = read_areas(node), {}
    for stage in stages:
        if stage.kind in (Kind.STORAGE, Kind.COMPUTE, Kind.NETWORK):
            if stage.name not in areas:
                hint = did_you_mean(stage.name, areas, otherwise="")
                raise node.wrong(f"component {stage.name!r} has no area{hint}")
            instances[stage.name] = stage.mesh[0] * stage.mesh[1]
    own = {name: areas[name] for name in instances}
    return own, sum(area * instances[name] for name, area in own.items())
