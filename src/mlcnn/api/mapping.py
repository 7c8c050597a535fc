"""Loop nests on given hardware: the best mapping, a given one, and how a count comes about."""

from dataclasses import dataclass, replace
from enum import StrEnum
from os import PathLike, fspath
from typing import TypeVar

from mlcnn import codesign
from mlcnn.accelerators.border import is_file
from mlcnn.api.loading import Source
from mlcnn.api.nests import NetworkOptions, layer_nest, network_nests, split_layer
from mlcnn.api.optimizing import Progress, silent
from mlcnn.codesign.timeloop import is_timeloop, read_mapping_file, read_problem_file
from mlcnn.errors import InputError, did_you_mean
from mlcnn.workload import ConvLayer, LoopNest, loop_nest

__all__ = [
    "Hardware",
    "MapOptions",
    "check_mapping",
    "explain_count",
    "map_layer",
    "map_network",
    "nest_of",
]

_Choice = TypeVar("_Choice", bound=StrEnum)
_AS_IT_IS = NetworkOptions()


@dataclass(frozen=True, slots=True)
class MapOptions:
    """On what to map, and what to look for.

    Attributes:
        on: the architecture: a name (``mlcnn.codesign.architecture_names()``), or the path of a
            ``.yaml`` file.
        objective: what is made small: ``edp``, ``energy`` or ``latency``.
        factors: ``perfect``, whose products are the dimensions, or ``padded``.
        budget_s: seconds after which the best so far is taken; of a network, for all its layers.
        convention: what is counted: ``exact``, ``exact-box``, ``timeloop-2023`` or
            ``timeloop-2024``.
    """

    on: "str | PathLike[str]" = "gemmini"
    objective: str = "edp"
    factors: str = "perfect"
    budget_s: float = 60.0
    convention: str = "exact"

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
        return Hardware(codesign.load_architecture(fspath(self.on)), search)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The same, read.

    Attributes:
        architecture: the machine.
        search: what to look for.
    """

    architecture: codesign.Architecture
    search: codesign.Search


_USUAL = MapOptions()


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
    hardware = options.load()
    tell("load", 0, 0)
    nest = nest_of(layer, network)
    tell("map", 0, 0)
    return codesign.find(nest, hardware.architecture, hardware.search)


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
    hardware = options.load()
    nest = nest_of(layer, network)
    path = fspath(mapping)
    if is_file(path) and is_timeloop(path):
        given = read_mapping_file(path, hardware.architecture, nest)
    else:
        given = codesign.read_mapping(path, hardware.architecture)
    return codesign.check_mapping(nest, hardware.architecture, given, hardware.search.rule)


def explain_count(found: codesign.ScoredMapping, where: str) -> codesign.Explained:
    """How the words of one operand at one level of a mapping are counted, and by others.

    Args:
        found: what ``map_layer`` or ``check_mapping`` returned.
        where: level and operand, as ``scratchpad.input``.

    Raises:
        InputError: there is no such level or operand, or the mapping does not keep it there.
    """
    return codesign.explain(found.computed, found.architecture, found.batch, found.rule, where)
