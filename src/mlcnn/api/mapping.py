"""Loop nests on given hardware: the best mapping, a given one, and how a count comes about."""

from dataclasses import dataclass, replace
from enum import StrEnum
from os import PathLike, fspath
from pathlib import Path
from typing import TypeVar

from mlcnn import codesign
from mlcnn.accelerators.border import is_file
from mlcnn.api.loading import Source
from mlcnn.api.nests import NetworkOptions, layer_nest, network_nests, split_layer
from mlcnn.api.optimizing import Progress, silent
from mlcnn.codesign.timeloop import (
    DEFAULT_SPACES,
    Machine,
    Problem,
    is_timeloop,
    mapping_text,
    plain_machine,
    read_constraints_file,
    read_mapping_file,
    read_problem_file,
    read_timeloop,
    statistics_text,
)
from mlcnn.errors import InputError, did_you_mean
from mlcnn.workload import ConvLayer, LoopNest, loop_nest

__all__ = [
    "Asked",
    "Hardware",
    "MapOptions",
    "check_mapping",
    "explain_count",
    "map_layer",
    "map_network",
    "nest_of",
    "save_for_timeloop",
]

_Choice = TypeVar("_Choice", bound=StrEnum)
_AS_IT_IS = NetworkOptions()


@dataclass(frozen=True, slots=True)
class MapOptions:
    """On what to map, and what to look for.

    Attributes:
        on: the architecture: a name (``mlcnn.codesign.architecture_names()``), or the path of a
            ``.yaml`` file; or the paths of several of Timeloop's, with commas between them: an
            architecture, its ERT, constraints.
        objective: what is made small: ``edp``, ``energy`` or ``latency``.
        factors: ``perfect``, whose products are the dimensions, or ``padded``.
        budget_s: seconds after which the best so far is taken; of a network, for all its layers.
        convention: what is counted: ``exact``, ``exact-box``, ``timeloop-2023`` or
            ``timeloop-2024``.
        constraints: the path of a file of Timeloop's with what mappings of a layer must keep to.
    """

    on: "str | PathLike[str]" = "gemmini"
    objective: str = "edp"
    factors: str = "perfect"
    budget_s: float = 60.0
    convention: str = "exact"
    constraints: "str | PathLike[str] | None" = None

    def load(self) -> "Hardware":
        """Read the architecture and the choices, so that what is wrong is known before the work.

        Raises:
            InputError: a name is not known, a file is wrong, or the budget is not positive.
        """
        if not 0 < self.budget_s < float("inf"):
            raise InputError(f"a budget of {self.budget_s:g} s: it must be positive")
        search = codesign.Search(
            _choice(codesign.Objective, "objective", self.objective),
            codesign.convention(self.convention),
            _choice(codesign.Factors, "factors", self.factors),
            self.budget_s,
        )
        paths = [part.strip() for part in fspath(self.on).split(",")]
        files = tuple(path for path in paths if is_file(path) and is_timeloop(path))
        if len(paths) > 1 and len(files) < len(paths):
            other = next(path for path in paths if path not in files)
            raise InputError(f"{other}: of several files for the machine each must be Timeloop's")
        if files:
            # What they say of one layer is read with it.
            machine = read_timeloop(*files, nest=_NO_LAYER).machine.architecture
        else:
            machine = codesign.load_architecture(paths[0])
        rules = None if self.constraints is None else fspath(self.constraints)
        return Hardware(machine, search, files, rules)

    def of(self, layer: str | ConvLayer | LoopNest, network: NetworkOptions) -> "Asked":
        """Read a layer and the hardware, by the names that each has for the other.

        Raises:
            InputError: one of them cannot be used.
            UnsupportedError: the layer is no loop nest here.
        """
        hardware = self.load()
        given = isinstance(layer, str) and is_file(layer)
        if hardware.files:
            files = [*hardware.files, *([hardware.constraints] if hardware.constraints else [])]
            nest = None if given else nest_of(layer, network)
            read = read_timeloop(*files, *([str(layer)] if given else []), nest=nest)
            machine, problem, rules = read.machine, read.problem, read.constraints
            assert problem is not None  # noqa: S101
        else:
            machine = plain_machine(hardware.architecture)
            nest = read_problem_file(str(layer)) if given else nest_of(layer, network)
            problem = nest if isinstance(nest, Problem) else Problem(nest, dict(DEFAULT_SPACES))
            rules = None
            if hardware.constraints is not None:
                rules = read_constraints_file(hardware.constraints, machine, problem)
        if rules is not None and not rules.rules:
            rules = None
        return Asked(machine, problem, replace(hardware.search, constraints=rules))


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine, and what to look for.

    Attributes:
        architecture: the machine.
        search: what to look for.
        files: Timeloop's, that it is from.
        constraints: path of the constraints.
    """

    architecture: codesign.Architecture
    search: codesign.Search
    files: tuple[str, ...] = ()
    constraints: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A layer and a machine, with the names that files have for both.

    Attributes:
        machine: the machine.
        problem: the layer.
        search: what to look for.
    """

    machine: Machine
    problem: Problem
    search: codesign.Search


_USUAL = MapOptions()
_NO_LAYER = loop_nest(ConvLayer("nothing", 1, 1, 1, 1, 1, 1, 1))


def _choice(kind: type[_Choice], what: str, name: str) -> _Choice:
    names = [str(one) for one in kind]
    if name not in names:
        hint = did_you_mean(name, names)
        raise InputError(f"unknown {what} {name!r}{hint}; known: {', '.join(names)}")
    return kind(name)


def nest_of(layer: str | ConvLayer | LoopNest, network: NetworkOptions = _AS_IT_IS) -> LoopNest:
    """A layer as a loop nest: whatever gives one stands here.

    Args:
        layer: sizes as text (``K=64,C=64,H=56,W=56,R=3,S=3``), a layer of a network
            (``resnet18-224:layer1.0.conv1``), the ``.yaml`` file of a problem of Timeloop's, a
            layer, or a nest.
        network: how the network is read; its form and batch also hold for sizes.

    Raises:
        InputError: it is none of these.
        UnsupportedError: it is no loop nest here.
    """
    if isinstance(layer, LoopNest):
        return layer
    if isinstance(layer, str) and is_file(layer):
        return read_problem_file(layer).nest
    if isinstance(layer, str) and "=" not in layer:
        source, name = split_layer(layer)
        if name is None:
            raise InputError(
                f"{layer}: a layer is required behind a colon, as resnet18-224:layer1.0.conv1"
            )
        return layer_nest(source, name, network)
    given = codesign.parse_layer(layer) if isinstance(layer, str) else layer
    if network.batch is not None:
        given = replace(given, N=network.batch)
    return loop_nest(given, network.form)


def map_layer(
    layer: str | ConvLayer | LoopNest,
    options: MapOptions = _USUAL,
    network: NetworkOptions = _AS_IT_IS,
    progress: Progress | None = None,
) -> codesign.Found:
    """The best mapping of a layer on given hardware, or the best so far and how good it may be.

    Args:
        layer: see ``nest_of``.
        options: on what, and what is made small.
        network: how a network is read.
        progress: told how the work goes on.

    Raises:
        InputError: the layer, the hardware or an option cannot be used.
        UnsupportedError: the layer is no loop nest here.
        InfeasibleError: nothing fits the hardware; the message says what does not.

    Example:
        >>> import mlcnn
        >>> found = mlcnn.map_layer("K=4,C=2,P=2,Q=2", mlcnn.MapOptions(objective="latency"))
        >>> found.latency_cycles, found.optimal
        (4.0, True)
    """
    tell = progress or silent
    tell("load", 0, 0)
    asked = options.of(layer, network)
    tell("map", 0, 0)
    return codesign.find(asked.problem.nest, asked.machine.architecture, asked.search)


def map_network(
    source: Source,
    options: MapOptions = _USUAL,
    network: NetworkOptions = _AS_IT_IS,
    progress: Progress | None = None,
) -> codesign.MappedNetwork:
    """The best mappings of a network's layers, identical layers once.

    Of a network, energy times latency is that of all layers together, which is not the sum of the
    layers' own: see ``mlcnn.codesign.network``.

    Args:
        source: see ``mlcnn.load``.
        options: on what, and what is made small; the budget is for all layers.
        network: how the network is read.
        progress: told how the work goes on.

    Raises:
        InputError: the network, the hardware or an option cannot be used, or there is no layer.
        UnsupportedError: a layer is no loop nest here.
        InfeasibleError: nothing fits the hardware.
    """
    tell = progress or silent
    hardware = options.load()
    if hardware.constraints is not None:
        raise InputError(
            f"{hardware.constraints}: constraints are of one layer: give the layer behind a colon, "
            "as resnet18-224:conv1"
        )
    tell("load", 0, 0)
    nests, uncounted = network_nests(source, network)
    found = codesign.map_nests(nests, hardware.architecture, hardware.search, tell)
    return replace(found, uncounted=uncounted)


def check_mapping(
    layer: str | ConvLayer | LoopNest,
    mapping: "str | PathLike[str]",
    options: MapOptions = _USUAL,
    network: NetworkOptions = _AS_IT_IS,
) -> codesign.Checked:
    """Score a given mapping of a layer, and say what does not fit and what would help.

    Args:
        layer: see ``nest_of``.
        mapping: its text, or the path of a ``.yaml`` file, ``codesign.read_mapping``'s or
            Timeloop's.
        options: on what; objective and budget are not used.
        network: how a network is read.

    Raises:
        InputError: the layer, the mapping or the hardware cannot be used, or factors do not make
            up the dimensions.
        UnsupportedError: the layer is no loop nest here.
    """
    asked = options.of(layer, network)
    nest, architecture = asked.problem.nest, asked.machine.architecture
    path = fspath(mapping)
    if is_file(path) and is_timeloop(path):
        given = read_mapping_file(path, asked.machine, asked.problem)
    else:
        given = codesign.read_mapping(path, architecture)
    return codesign.check_mapping(nest, architecture, given, asked.search.rule)


def save_for_timeloop(
    found: codesign.ScoredMapping,
    folder: "str | PathLike[str]",
    layer: str | ConvLayer | LoopNest,
    options: MapOptions = _USUAL,
    network: NetworkOptions = _AS_IT_IS,
) -> tuple[Path, Path]:
    """Write a mapping as Timeloop (version 0.4) reads it, and its statistics, into a folder.

    Args:
        found: what ``map_layer`` or ``check_mapping`` returned.
        folder: made where it is not there; ``mapping.yaml`` and ``statistics.yaml`` in it are
            replaced.
        layer: what was mapped.
        options: on what.
        network: how a network is read.

    Returns:
        The two files.

    Raises:
        InputError: the folder cannot be written.
        UnsupportedError: a loop stands where Timeloop has no place for one.
    """
    asked = options.of(layer, network)
    problem = replace(asked.problem, nest=found.computed)
    texts = {
        "mapping.yaml": mapping_text(found.mapping, asked.machine, problem),
        "statistics.yaml": statistics_text(found.mapping, asked.machine, problem, found.rule),
    }
    paths: list[Path] = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            paths.append(Path(folder) / name)
            paths[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: it cannot be written: {error.strerror}") from error
    return paths[0], paths[1]


def explain_count(found: codesign.ScoredMapping, where: str) -> codesign.Explained:
    """How the words of one operand at one level of a mapping are counted, and by others.

    Args:
        found: what ``map_layer`` or ``check_mapping`` returned.
        where: level and operand, as ``scratchpad.input``.

    Raises:
        InputError: there is no such level or operand, or the mapping does not keep it there.
    """
    return codesign.explain(found.computed, found.architecture, found.batch, found.rule, where)
