"""What a network costs: measured beside the original, counted, or on a machine."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import accelerators, engines
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.evaluation import DEFAULT_BATCH, EvaluateOptions
from mlcnn.api.exploring import ExploreOptions, explore
from mlcnn.api.searching.options import CheapestOptions, Objective
from mlcnn.codesign.exploration import Quantity
from mlcnn.engines.timing import one_by_one
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.batches import in_batches
from mlcnn.frontier.sizes import file_bytes, peak_bytes
from mlcnn.workload import read

__all__ = ["KEYS", "SURELY_LESS", "Price", "Prices", "Stopwatch", "share_of"]

_SECONDS = 1.0
_LEAST, _MOST = 15, 400
_SLOWER = 1.5
"""An engine that takes so many times as long as the fastest is not timed further."""
_FIRST_LOOK = 7
_EXPLORING_S = 60.0

KEYS = {
    Objective.LATENCY: "latency_ms",
    Objective.ENERGY: "energy_pj",
    Objective.AREA: "area_um2",
    Objective.SIZE: "bytes",
    Objective.MEMORY: "peak_bytes",
}
"""Costs by objective."""
SURELY_LESS = 0.98
"""Of a cost: what takes more of it is as good as the original, within what timing can tell."""


def share_of(
    costs: Mapping[str, float], before: Mapping[str, float], objectives: Sequence[Objective]
) -> float:
    """What is left of the costs that are to be small: of two the geometric mean."""
    keys = [KEYS[objective] for objective in objectives]
    return math.prod(costs.get(k, math.inf) / before[k] for k in keys) ** (1 / len(keys))


@dataclass(frozen=True, slots=True)
class Price:
    """What a network costs.

    Attributes:
        costs: by quantity, of one image.
        engine: in which it is fastest; empty where nothing was timed.
    """

    costs: Mapping[str, float]
    engine: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Stopwatch:
    """Times networks on real images, each beside the original.

    Attributes:
        names: of the engines.
        pixels: images as the networks take them.
        threads: of an engine.
        clock: processor time for one thread, which other programs disturb less.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.float32]
    threads: int = 1

    @property
    def clock(self) -> engines.Clock:
        """What is read."""
        return time.process_time_ns if self.threads == 1 else time.perf_counter_ns

    def prepared(
        self, model: ir.Model, names: Sequence[str] = ()
    ) -> dict[str, Callable[[int], object]]:
        """Calls that run a network on an image, by engine; none for one that refuses it."""
        found: dict[str, Callable[[int], object]] = {}
        for name in names or self.names:
            try:
                found[name] = self._call(model, name)
            except (InputError, UnsupportedError):
                continue
        return found

    def _call(self, model: ir.Model, name: str) -> Callable[[int], object]:
        session = engines.get(name).prepare(_one(model), threads=self.threads)
        key, pixels = model.graph.inputs[0].name or "", self.pixels
        if read(model, batch=1).is_dynamic:

            def call(number: int) -> object:
                return session.run({key: pixels[number : number + 1]})
        else:
            runner = session.runner({key: pixels[:1]})

            def call(number: int) -> object:
                del number
                return runner()

        call(0)
        return call

    def times(self, calls: Mapping[str, Callable[[int], object]]) -> dict[str, float]:
        """Milliseconds of an image, all in turn: the mean over images of the shorter of two runs.

        A tenth of the longest times is left out: what interrupted them was not the network.
        """
        first = one_by_one([*calls.values()], _FIRST_LOOK, clock=self.clock)
        together = sum(map(statistics.median, first)) / 500 or 1e-6
        count = min(max(int(_SECONDS / together), _LEAST), _MOST, len(self.pixels))
        found = one_by_one([*calls.values()], count, clock=self.clock)
        return {name: _trimmed(each) for name, each in zip(calls, found, strict=True)}

    def fastest(
        self, model: ir.Model, beside: Callable[[int], object] | None = None
    ) -> tuple[str, float, float | None]:
        """The engine in which a network is fastest, its time, and that of what runs beside it.

        Raises:
            UnsupportedError: no engine runs it.
        """
        calls = self.prepared(model)
        if not calls:
            raise UnsupportedError(f"none of {', '.join(self.names)} runs the network")
        looked = one_by_one([*calls.values()], _FIRST_LOOK, clock=self.clock)
        least = min(map(statistics.median, looked))
        calls = {
            name: call
            for (name, call), each in zip(calls.items(), looked, strict=True)
            if statistics.median(each) <= _SLOWER * least
        }
        timed = self.times(calls if beside is None else {**calls, "": beside})
        best = min(calls, key=lambda name: timed[name])
        return best, timed[best], timed.get("")


def _trimmed(times: Sequence[float]) -> float:
    kept = sorted(times)[: max(1, math.ceil(0.9 * len(times)))]
    return statistics.fmean(kept)


def _one(model: ir.Model) -> ir.Model:
    """With a fixed batch of one image: engines are faster then."""
    sizes = engines.fixed_shapes(model, fixed_batch(model) or 1)
    return engines.fix_shapes(model, sizes)


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """All that is wanted of what a network costs.

    Attributes:
        options: the objectives, and on what.
        original: the network as it was.
        watch: what times networks.
        pixels: images that tell what of a dynamic network runs.
    """

    options: CheapestOptions
    original: ir.Model
    watch: Stopwatch
    pixels: NDArray[np.float32]
    _beside: list[tuple[Callable[[int], object], float]] = field(
        default_factory=list[tuple[Callable[[int], object], float]], init=False, repr=False
    )
    _cycles: list[float] = field(default_factory=list[float], init=False, repr=False)

    def begin(self, known: Price | None) -> Price:
        """Price the original; what is known of it from an earlier call stays.

        Raises:
            UnsupportedError: no engine runs it.
        """
        wants_time = Objective.LATENCY in self.options.objectives
        if known is None:
            engine, took, _ = self.watch.fastest(self.original) if wants_time else ("", 0.0, None)
        else:
            engine, took = known.engine, known.costs.get("latency_ms", 0.0)
        if wants_time:
            call = self.watch.prepared(self.original, [engine])[engine]
            self._beside[:] = [(call, took)]
        if known is not None:
            return known
        timed = {"latency_ms": took} if wants_time else {}
        return Price({**timed, **self._counted(self.original)}, engine)

    def of(self, model: ir.Model) -> Price:
        """What a network costs.

        Raises:
            UnsupportedError: no engine runs it.
            InfeasibleError: the machine takes none of its layers.
        """
        costs = self._counted(model)
        if Objective.LATENCY not in self.options.objectives:
            return Price(costs)
        call, took = self._beside[0]
        engine, mine, other = self.watch.fastest(model, call)
        return Price({"latency_ms": took * mine / (other or mine), **costs}, engine)

    def _counted(self, model: ir.Model) -> dict[str, float]:
        found = {"bytes": float(file_bytes(model)), "peak_bytes": float(peak_bytes(model))}
        if self.options.template is not None and self.options.on_machines:
            found |= self._designed(model)
        elif self.options.on is not None:
            found["energy_pj"] = self._energy(model, self.options.on)
        return found

    def _energy(self, model: ir.Model, on: str) -> float:
        """Picojoules of an image, on average over images where it depends on them.

        The network is taken as it is: what is fused in it is fused on the machine.
        """
        machines = EvaluateOptions((on,), on).load()
        costs = accelerators.Conditional(model, machines.on[0], machines.technology)
        if read(model, batch=1).is_dynamic:
            spent = in_batches(recorded(model, self.pixels), costs, DEFAULT_BATCH)
            return float(spent.energy_pj.mean())
        layers = range(len(costs.layers))
        return sum(costs.layer(place, DEFAULT_BATCH).energy_pj for place in layers) / DEFAULT_BATCH

    def _designed(self, model: ir.Model) -> dict[str, float]:
        """Of the best machine of the template that is as fast as the original's least EDP one."""
        template = self.options.template or ""
        if not self._cycles:
            found = explore(
                self.original,
                ExploreOptions(template=template, objectives="edp", budget_s=_EXPLORING_S),
            )
            self._cycles.append(Quantity.LATENCY.of(found.front[0].found))
        most = f"latency={self._cycles[0]:.0f}cycles"
        costs: dict[str, float] = {}
        for objective in {Objective.ENERGY, Objective.AREA} & {*self.options.objectives}:
            asked = ExploreOptions(
                template=template, objectives=str(objective), at_most=(most,),
                budget_s=_EXPLORING_S,
            )  # fmt: skip
            best = explore(model, asked).front[0].found
            costs[KEYS[objective]] = Quantity(str(objective)).of(best)
        return costs
