"""What smaller networks cost: stored, computed, measured, on an accelerator; and their accuracy."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from mlcnn import nn
from mlcnn.api.benchmarking import MeasureOptions, measure, settings
from mlcnn.api.evaluation import Machines
from mlcnn.api.forming import Forming, slower_in
from mlcnn.api.layer_results import LayerResult
from mlcnn.api.shrinking import Shrinking, Shrunk
from mlcnn.counting.joining import joined
from mlcnn.engines import Bench
from mlcnn.errors import InfeasibleError, UnsupportedError
from mlcnn.frontier import (
    Cost,
    Frontier,
    LayerTime,
    Point,
    file_bytes,
    layer_sizes,
    layer_times,
    named,
    peak_bytes,
)
from mlcnn.report import ORIGINAL
from mlcnn.training.intervals import Accuracy, Difference, paired

__all__ = ["Judged", "Judging", "Objective"]

_LATENCY = "latency_ms"
_ENERGY = "energy_pj"
_NO_CHANGE = Difference(0.0, (0.0, 0.0))


class Objective(StrEnum):
    """What is to be small."""

    PARAMETERS = "parameters"
    MULTIPLICATIONS = "multiplications"
    LATENCY = "latency"
    ENERGY = "energy"

    def quantity(self, point: Point) -> str:
        """The cost that it is; of several engines the first one's latency.

        Args:
            point: whose costs are known.
        """
        prefix = {Objective.LATENCY: _LATENCY, Objective.ENERGY: _ENERGY}.get(self, str(self))
        return next((name for name in point.costs if name.startswith(prefix)), prefix)


@dataclass(frozen=True, slots=True)
class Judged:
    """Networks and what they cost.

    Attributes:
        original: the network as it was.
        points: the smaller ones.
        models: of these.
        bench: the measured latencies; None where nothing was measured.
        machine: of the energy; empty without one.
        notes: what could not be found out, with the reason.
        judging: how it was found out.
    """

    original: Point
    points: tuple[Point, ...]
    models: tuple[ir.Model, ...]
    bench: Bench | None
    machine: str
    notes: tuple[str, ...]
    judging: "Judging"

    def frontier(self, objective: Objective) -> Frontier:
        """The curve for what is to be small."""
        return Frontier(self.original, self.points, objective.quantity(self.original))

    def layers(self, index: int) -> tuple[LayerResult, ...]:
        """Each layer before and after, in one of the networks; timed alone if times are wanted."""
        before, after = self.judging.shrinking.model, self.models[index]
        times = self.judging.layer_times(before, after)
        return tuple(
            LayerResult(
                (old or new[0]).name,
                old,
                new[0] if len(new) == 1 else None,
                tuple(time for time in times if old is not None and time.layer == old.name),
            )
            for old, new in joined(layer_sizes(before), layer_sizes(after))
        )


@dataclass(frozen=True, slots=True)
class Judging:
    """How the costs of networks are found out.

    Attributes:
        shrinking: how they were made; its test images are what they are judged on in the end.
        measuring: on what to measure the speed; None for nothing.
        machines: the first one's energy is a cost; None for none.
    """

    shrinking: Shrinking
    measuring: MeasureOptions | None
    machines: Machines | None

    def of(self, found: Sequence[Shrunk]) -> Judged:
        """The costs and the accuracy of networks, beside the original's."""
        it = self.shrinking
        names = [named(shrunk.method, shrunk.setting) for shrunk in found]
        notes: list[str] = []
        models, bench = self._measured(
            dict(zip(names, (s.model for s in found), strict=True)), notes
        )
        costs = {name: self._costs(name, model, bench, notes) for name, model in models.items()}
        tested = self._tested(found)
        original = Point(
            ORIGINAL, {}, costs[ORIGINAL],
            Accuracy(ORIGINAL, it.data.validation.name, len(it.before), float(it.before.mean())),
            _NO_CHANGE, tested[0][0], _NO_CHANGE,
        )  # fmt: skip
        points = tuple(
            Point(s.method, s.setting, costs[name], s.accuracy, s.change, *test)
            for name, s, test in zip(names, found, tested[1:], strict=True)
        )
        machine = "" if self.machines is None else self.machines.on[0].name
        return Judged(
            original, points, tuple(models[name] for name in names), bench, machine,
            tuple(dict.fromkeys(notes)), self,
        )  # fmt: skip

    def _measured(
        self, made: dict[str, ir.Model], notes: list[str]
    ) -> tuple[dict[str, ir.Model], Bench | None]:
        """All networks by name, the original first, in the forms that they are saved in."""
        original = {ORIGINAL: self.shrinking.model}
        if self.measuring is None:
            return original | made, None
        forming, models = Forming(self.measuring), dict[str, ir.Model]()
        for done, (name, model) in enumerate(made.items()):
            self.shrinking.tell("choose forms", done, len(made))
            models[name] = forming.chosen(model)
        bench = self._bench(self.measuring, original | models)
        plain = {
            name: forming.plain(made[name])
            for name, model in models.items()
            if model is not made[name] and slower_in(bench, name)
        }
        notes += [
            f"{name} is slower than the original in {slower_in(bench, name)}: no layer of it is "
            "computed by its structure"
            for name in plain
        ]
        if plain:
            models |= plain
            bench = self._bench(self.measuring, original | models)
        notes += [
            f"{name} is slower than the original in {told}"
            for name in models
            if (told := slower_in(bench, name))
        ]
        return original | models, bench

    def _tested(self, found: Sequence[Shrunk]) -> list[tuple[Accuracy, Difference]]:
        """Accuracy on the test images and the change, of the original and of each."""
        it, name = self.shrinking, self.shrinking.data.test.name
        it.tell("test", 0, 0)
        before = it.right(nn.to_module(it.model), test=True)
        rights = [(ORIGINAL, before)]
        rights += [(shrunk.method, it.right(shrunk.module, test=True)) for shrunk in found]
        return [
            (Accuracy(variant, name, len(right), float(right.mean())), paired(before, right))
            for variant, right in rights
        ]

    def _bench(self, measuring: MeasureOptions, models: dict[str, ir.Model]) -> Bench:
        chosen = settings(self.shrinking.model, measuring)
        return measure(chosen, lambda _: models, measuring, self.shrinking.tell)

    def _costs(
        self, name: str, model: ir.Model, bench: Bench | None, notes: list[str]
    ) -> dict[str, Cost]:
        values: dict[str, float] = {"bytes": file_bytes(model)}
        try:
            sizes = layer_sizes(model)
            values |= {
                "parameters": sum(size.parameters for size in sizes),
                "multiplications": sum(size.multiplications for size in sizes),
                "multiplications run": sum(size.dense for size in sizes),
                "peak_bytes": peak_bytes(model),
            }
            values |= self._energy(model)
        except (UnsupportedError, InfeasibleError) as error:
            notes.append(f"not all costs are known: {error}")
        for row in [] if bench is None else bench.results:
            # Of several batch sizes the first one counts.
            if row.variant == name and f"{_LATENCY} {row.engine}" not in values:
                values[f"{_LATENCY} {row.engine}"] = row.median_ms
        return {key: Cost.fixed(value) for key, value in values.items()}

    def _energy(self, model: ir.Model) -> dict[str, float]:
        if self.machines is None:
            return {}
        pair = (model, self.shrinking.model)
        found = self.machines.compare_networks(pair, ("after", "before"))
        return {f"{_ENERGY}": found.total.costs.energy_pj / found.batch}

    def layer_times(self, before: ir.Model, after: ir.Model) -> tuple[LayerTime, ...]:
        """Each layer alone; none where nothing is measured."""
        if self.measuring is None:
            return ()
        names = dict.fromkeys(s.engine for s in settings(before, self.measuring))
        with suppress(UnsupportedError):
            return layer_times(
                before, after, tuple(names), threads=self.measuring.threads,
                progress=lambda done, total: self.shrinking.tell("time layers", done, total),
            )  # fmt: skip
        return ()
