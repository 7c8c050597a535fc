"""Hardware sizes searched together with the mappings of a network."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path

from mlcnn import codesign
from mlcnn.api.loading import Source, model_name
from mlcnn.api.nests import NetworkOptions, network_forms, network_nests, network_tasks
from mlcnn.codesign import exploration
from mlcnn.codesign.exploration import (
    ArrayLayers,
    ArrayTemplate,
    Candidates,
    Explored,
    Here,
    Limit,
    LoopNests,
    Network,
    OnRay,
    Processes,
    Quantity,
    Question,
    Relaxing,
    Space,
    Standing,
    StartDesign,
    Strategy,
    Workers,
    require_ray,
)
from mlcnn.codesign.layer_searches import grouped
from mlcnn.errors import InputError, did_you_mean
from mlcnn.journal import Journal

__all__ = ["ExploreOptions", "explore", "write_designs"]

_UM2_PER_MM2 = 1e6
_AS_IT_IS = NetworkOptions()
_ENGINES = ("local", "ray")
_VERSION = 3
"""Of how designs are evaluated and chosen: journals of another are not gone on with."""


@dataclass(frozen=True, slots=True)
class ExploreOptions:
    """Which designs, what is made small, and how long.

    Attributes:
        template: a name (``mlcnn.codesign.exploration.template_names()``), or the path of a
            ``.yaml`` file.
        space: which steps of the template; its first space by default.
        ranges: parts of these, as ``pe=8..64``.
        objectives: one to three of ``latency``, ``energy``, ``power``, ``area`` and ``edp``, with
            commas between; by default latency, power and, where it is known, area.
        area_mm2: no design is larger.
        at_most: other bounds, as ``power=0.5W``.
        budget_s: seconds after which the search ends.
        search: how designs are chosen: ``guided``, ``proof``, ``descent`` or ``relaxed``.
        seed: of what is drawn.
        processes: that map designs.
        engine: ``local``, or ``ray``: the extra ``mlcnn[ray]``.
        address: of a cluster of Ray, as ``HOST:PORT`` or ``auto``; by default Ray is started on
            this machine with ``processes``.
        journal: file that every finished design is written to, and that a run goes on from.
        fresh: begin the journal anew.
        start_from: a design to improve on: a ``.yaml`` file that says which design it is.
        convention: what is counted on loop nests.
        expanded: whether a convolution with a pool behind it may run with the expanded kernel on
            loop nests, too; the network is rewritten for that. Arrays choose among their own forms.
        device: where the gradient search of ``relaxed`` runs: ``cpu``, or ``cuda`` where there is
            one.
    """

    template: "str | PathLike[str]" = "gemmini"
    space: str | None = None
    ranges: Sequence[str] = ()
    objectives: str | None = None
    area_mm2: float | None = None
    at_most: Sequence[str] = ()
    budget_s: float = math.inf
    search: str = "guided"
    seed: int = 0
    processes: int = 1
    engine: str = "local"
    address: str | None = None
    journal: "str | PathLike[str] | None" = None
    fresh: bool = False
    start_from: "str | PathLike[str] | None" = None
    convention: str = "exact"
    expanded: bool = False
    device: str = "cpu"

    def question(self) -> Question:
        """The same, read, so that what is wrong is known before the work.

        Raises:
            InputError: a name, a range or a bound cannot be used.
            UnsupportedError: Ray is asked for and not installed.
        """
        if not self.budget_s > 0:
            raise InputError(f"a budget of {self.budget_s:g} s: it must be positive")
        if self.processes < 1:
            raise InputError(f"--processes {self.processes}: it must be 1 or more")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must be 0 or more")
        self._check_engine()
        names = [str(one) for one in Strategy]
        if self.search not in names:
            raise InputError(
                f"unknown search {self.search!r}{did_you_mean(self.search, names)}; known: "
                f"{', '.join(names)}"
            )
        exploration.check_device(self.device)
        if self.device != "cpu" and self.search != Strategy.RELAXED:
            raise InputError(
                f"--device {self.device}: it is of --search relaxed; give that, or leave it out"
            )
        template = exploration.load_template(fspath(self.template))
        space = template.space(self.space, self.ranges)
        return Question(
            space,
            self._objectives(space),
            self._limits(space),
            Strategy(self.search),
            self.seed,
            self.budget_s,
            None if self.start_from is None else _start(Path(self.start_from), space),
        )

    def _check_engine(self) -> None:
        if self.engine not in _ENGINES:
            hint = did_you_mean(self.engine, _ENGINES)
            raise InputError(f"unknown engine {self.engine!r}{hint}; known: {', '.join(_ENGINES)}")
        if self.address is not None and self.engine != "ray":
            raise InputError(f"--address {self.address}: it is of --engine ray; give that, too")
        if self.address is not None and self.processes != 1:
            raise InputError(
                f"--processes {self.processes}: they are of this machine, and the cluster at "
                f"--address {self.address} has its own; leave one of the two out"
            )
        if self.engine == "ray":
            require_ray()

    def workers(self, network: Network) -> "AbstractContextManager[Workers]":
        """What maps designs.

        Args:
            network: its layers.
        """
        if self.engine == "ray":
            return OnRay(network, self.processes, self.address)
        if self.processes > 1:
            return Processes(network, self.processes)
        return Here(network)

    def _objectives(self, space: Space) -> tuple[Quantity, ...]:
        if self.objectives is not None:
            return exploration.parse_objectives(self.objectives)
        usual = (Quantity.LATENCY, Quantity.POWER, Quantity.AREA)
        return usual[:2] if space.template.no_area else usual

    def _limits(self, space: Space) -> tuple[Limit, ...]:
        clock = space.template.clock_mhz
        limits = [exploration.parse_limit(text, clock) for text in self.at_most]
        if self.area_mm2 is not None:
            if not 0 < self.area_mm2 < math.inf:
                raise InputError(f"--area {self.area_mm2:g}: it must be positive, in mm2")
            limits.insert(0, Limit(Quantity.AREA, self.area_mm2 * _UM2_PER_MM2))
        quantities = [limit.quantity for limit in limits]
        for quantity in quantities:
            if quantities.count(quantity) > 1:
                raise InputError(f"two bounds on {quantity} are given: give one")
        return tuple(limits)


_USUAL = ExploreOptions()


def _start(path: Path, space: Space) -> StartDesign:
    """The design of a file.

    Raises:
        InputError: it does not say which design of the template it is.
    """
    template = space.template
    known, machine = template.read(path)
    if known is None or known[0] != template.name or set(known[1]) != set(template.default):
        given = (
            "it does not say which design it is"
            if known is None
            else f"it is a design of template {known[0]} with {', '.join(known[1])}"
        )
        pairs = template.default.items()
        keys = ", ".join(f"{key}: {exploration.value_text(value)}" for key, value in pairs)
        raise InputError(
            f"--start-from {path}: {given}, and one of template {template.name} is required, as "
            f"mlcnn explore writes it: design: {{template: {template.name}, values: {{{keys}}}}}"
        )
    try:
        values = template.space(space.name).numbers(known[1])
    except InputError as error:
        raise InputError(f"--start-from {path}: {error}") from error
    return StartDesign(path.stem, values, machine)


def _silent(standing: Standing) -> None:
    del standing


def explore(
    source: Source,
    options: ExploreOptions = _USUAL,
    network: NetworkOptions = _AS_IT_IS,
    progress: Callable[[Standing], None] | None = None,
) -> Explored:
    """The designs of a template that no other beats for a network.

    Args:
        source: see ``mlcnn.load``.
        options: which designs, what is made small, and how long.
        network: how the network is read.
        progress: told after every design that was mapped.

    Raises:
        InputError: the network, the template, a bound or the journal cannot be used.
        UnsupportedError: a layer is no loop nest here, the area is not known and needed, or Ray is
            asked for and not installed.
        InfeasibleError: no design is within the bounds, or none was mapped in time.
    """
    question = options.question()
    priced = _priced(source, options, network, question)
    candidates = Candidates.of(
        question.space, priced, question.limits, wants_area=Quantity.AREA in question.objectives
    )
    name = model_name(source)
    run = question.run(f"{name} {priced.digest}", f"explore {_VERSION}", priced.counted)
    if options.device != "cpu":  # in other precision, so it may go another way
        run["search"] = f"{run['search']} on {options.device}"
    run["network_name"] = name  # for whoever finds the journal in use
    path = None if options.journal is None else Path(options.journal)
    workers = options.workers(priced)
    with Journal(path, run, fresh=options.fresh) as journal, workers as mapping:
        relaxing = (
            Relaxing(priced.groups, options.device) if isinstance(priced, LoopNests) else None
        )
        work = exploration.Work(
            question, candidates, journal, mapping, progress or _silent, relaxing=relaxing
        )
        return work.explored(name)


def _priced(
    source: Source, options: ExploreOptions, network: NetworkOptions, question: Question
) -> Network:
    """A network's layers, as the machines of a template run them.

    Raises:
        InputError: it has none, or a convention is given for what counts by none.
        UnsupportedError: the template cannot run one of them on any size.
    """
    template = question.space.template
    rule = codesign.convention(options.convention)
    if isinstance(template, ArrayTemplate):
        if rule is not codesign.EXACT:
            raise InputError(
                f"--convention {options.convention}: template {template.name} is one of arrays, "
                "which count in but one way; leave the option away"
            )
        if question.strategy is Strategy.RELAXED:
            raise InputError(
                f"--search relaxed: template {template.name} is one of arrays, whose tilings have "
                "no gradients; search it by guided, proof or descent"
            )
        machine = template.make(template.default)
        tasks = network_tasks(source, network)
        layers = ArrayLayers.of(tasks, machine, template.technology, template.name)
        fastest = exploration.only_latency(question.objectives, question.limits)
        return replace(layers, fastest=fastest)
    if options.expanded:
        forms = network_forms(source, network)
        layers = LoopNests.of(forms, rule)
    else:
        nests, _ = network_nests(source, network)
        layers = LoopNests(grouped(nests), rule)
    if not layers.groups:
        raise InputError("the network has no convolution and no dense layer to map")
    return layers


def write_designs(found: Explored, folder: "str | PathLike[str]") -> list[Path]:
    """Write each design of a front as the file of its machine.

    Args:
        found: the front.
        folder: where to; it is made where it is missing.

    Returns:
        The files, in the order of the front.

    Raises:
        InputError: they cannot be written.
    """
    place = Path(folder)
    paths: list[Path] = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(found.front, 1):
            paths.append(place / f"design-{number:02}.yaml")
            paths[-1].write_text(exploration.design_text(found, one), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--output {place}: cannot be written ({error.strerror})") from error
    return paths
