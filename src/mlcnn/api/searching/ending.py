"""The end of a search: judged on images that chose nothing, timed together, tested once."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from mlcnn.api.searching.found import Cheapest
from mlcnn.api.searching.options import CheapestOptions, Objective
from mlcnn.api.searching.prices import KEYS, SURELY_LESS, Stopwatch, share_of
from mlcnn.api.searching.search import Search
from mlcnn.api.searching.trials import Done, Trials, packed, right_of, unpacked
from mlcnn.api.stacking import Lab
from mlcnn.engines.processor import named
from mlcnn.frontier.budget import Budget
from mlcnn.frontier.outcome import Entry, Outcome, Prediction, Tried
from mlcnn.frontier.predicting import rank_correlation
from mlcnn.frontier.stacks import Aspect
from mlcnn.report import ORIGINAL
from mlcnn.training import ImageSet
from mlcnn.training.intervals import Accuracy, Difference, Right, paired

__all__ = ["Ending"]

_ENTRIES = 7
"""Networks that the end is planned for: the original, some methods alone, the stack, two peers."""
_JUDGED = 6
_PEERS = ("onnxruntime", "openvino")
_AT_LEAST_S = 5.0
_NONE = Difference(0.0, (0.0, 0.0))


@dataclass(eq=False)
class Ending:
    """Judges, times and tests what was found.

    Attributes:
        options: what is asked for.
        lab: the images.
        judge: images that chose nothing.
        trials: what was tried.
        watch: what times networks.
        model: the original.
        original: what is known of it.
        exact_gains: whether exact passes change anything; else what they leave is the original.
    """

    options: CheapestOptions
    lab: Lab
    judge: ImageSet
    trials: Trials
    watch: Stopwatch
    model: ir.Model
    original: Done
    exact_gains: bool = True
    _rights: dict[tuple[str, str, str], Right] = field(
        default_factory=dict[tuple[str, str, str], Right], init=False
    )

    @property
    def seconds(self) -> float:
        """That the end is going to take."""
        image = max(self.original.seconds, 0.1) / max(len(self.original.right), 1)
        return _AT_LEAST_S + _ENTRIES * image * (len(self.judge) + len(self.lab.data.test))

    def result(
        self, search: Search, name: str, interrupted: bool, notes: tuple[str, ...]
    ) -> Cheapest:
        """The answer: the cheapest that stays within on the images that chose and on others."""
        found = [
            done
            for done in search.found
            if done is not self.original and search.cost(done) < SURELY_LESS
        ]
        best = next((d for d in found[:_JUDGED] if self._holds(d)), self.original)
        listed = self._listed(search, best)
        entries = self._timed(
            [self._entry(what, done, engine, interrupted) for what, done, engine in listed],
            [done for _, done, _ in listed],
        )
        place = self._best(search, listed, entries)
        best = listed[place][1]
        model = self.model if best is self.original else self.trials.model(best)
        keys = tuple(KEYS[one] for one in self.options.objectives)
        outcome = Outcome(
            name, keys, self.options.max_drop, tuple(entries), place, tuple(self._tried(search)),
            dict(search.dropped), self._predicted(search), self.trials.spent, self._spent(),
            interrupted, named(), notes,
        )  # fmt: skip
        return Cheapest(self.model, model, outcome)

    def _best(
        self, search: Search, listed: list[tuple[str, Done, str]], entries: list[Entry]
    ) -> int:
        """Place of the cheapest of those within the budget, by what was measured in one run."""
        shares = [
            share_of(entry.costs, entries[0].costs, self.options.objectives) for entry in entries
        ]
        within = [
            place
            for place, (_, done, _) in enumerate(listed)
            if done is not self.original and search.allowed(done) and self._holds(done)
        ]
        best = min(within, key=lambda place: shares[place], default=0)
        return best if shares[best] < SURELY_LESS else 0

    def _holds(self, done: Done) -> bool:
        """Whether it stays within on the images that chose nothing, too."""
        if not len(self.judge):
            return True
        return Budget(self.options.max_drop).allows(self._judged(done))

    def _judged(self, done: Done) -> Difference:
        engine = _engine(done)
        before = self._right(self.original, "judge", _engine(self.original))
        return paired(before, self._right(done, "judge", engine))

    def _right(self, done: Done, part: str, engine: str) -> Right:
        """Which images a network has right, found out once; test images are looked at once."""
        key = (done.trial.key, part, engine)
        if key not in self._rights:
            images = self.judge if part == "judge" else self.lab.data.test
            model = self.model if done is self.original else self.trials.model(done)
            row = self.trials.kept(
                f"{part} of {done.trial.key or ORIGINAL} in {engine}",
                lambda: {"right": packed(right_of(model, self.lab, images, engine))},
            )
            self._rights[key] = unpacked(row["right"])
        return self._rights[key]

    def _listed(self, search: Search, best: Done) -> list[tuple[str, Done, str]]:
        """What stands in the table: name, trial, and the engine."""
        listed = [(ORIGINAL, self.original, _engine(self.original))]
        alone: dict[str, Done] = {}
        stacks: list[Done] = []
        for done in search.found:
            methods = _methods(done)
            if len(methods) > 1:
                stacks.append(done)
            elif methods or (self.exact_gains and done is not self.original):
                alone.setdefault(methods[0] if methods else done.trial.stack.text, done)
        listed += [(f"{method} alone", done, _engine(done)) for method, done in alone.items()]
        if best in stacks:
            stacks = [best]
        listed += [("best stack", done, _engine(done)) for done in stacks[:1]]
        if best is not self.original and all(done is not best for _, done, _ in listed):
            listed.append(("best", best, _engine(best)))
        for done in self.trials.known.values():
            if done.trial.peer and done.price is not None:
                usable = [e for e in _PEERS if e in self.watch.names]
                listed += [(f"{done.trial.peer}, in {e}", done, e) for e in usable]
        return listed

    def _entry(self, what: str, done: Done, engine: str, interrupted: bool) -> Entry:
        costs = dict(done.price.costs) if done.price is not None else {}
        change = _NONE if done is self.original else done.change(self.original)
        judged = None
        test = test_change = None
        if not interrupted:
            if len(self.judge):
                before = self._right(self.original, "judge", _engine(self.original))
                judged = paired(before, self._right(done, "judge", engine))
            right = self._right(done, "test", engine)
            before = self._right(self.original, "test", _engine(self.original))
            name = self.lab.data.test.name
            test = Accuracy(what, name, len(right), float(right.mean()))
            test_change = paired(before, right)
        pipeline = "" if done.trial.peer else done.trial.stack.text
        return Entry(
            what, pipeline, engine, costs, change, judged, test, test_change, done.trial.images
        )

    def _timed(self, entries: list[Entry], dones: list[Done]) -> list[Entry]:
        """With latencies of one run, all in turn."""
        if Objective.LATENCY not in self.options.objectives:
            return entries
        calls: dict[str, Callable[[int], object]] = {}
        for place, (entry, done) in enumerate(zip(entries, dones, strict=True)):
            model = self.model if done is self.original else self.trials.model(done)
            prepared = self.watch.prepared(model, [entry.engine])
            if prepared:
                calls[str(place)] = prepared[entry.engine]
        times = self.watch.times(calls)
        return [
            replace(e, costs={**e.costs, "latency_ms": times.get(str(place), math.nan)})
            for place, e in enumerate(entries)
        ]

    def _tried(self, search: Search) -> list[Tried]:
        found: list[Tried] = []
        for done in self.trials.known.values():
            failed = done.price is None
            untrained = done.trial.is_untrained
            change = None if failed or untrained else done.change(self.original)
            why = done.why
            if not why and change is not None and not Budget(self.options.max_drop).allows(change):
                why = f"loses more than {self.options.max_drop:g} points"
            elif not why and untrained:
                why = "tried for its cost alone"
            found.append(
                Tried(
                    done.trial.peer or done.trial.stack.text or ORIGINAL, done.trial.images,
                    None if failed else search.cost(done), change, done.seconds, why,
                    {} if done.price is None else dict(done.price.costs), done.trial.predicted,
                    bool(done.trial.peer),
                )
            )  # fmt: skip
        return found

    def _predicted(self, search: Search) -> Prediction | None:
        pairs = [
            (done.trial.predicted, (search.cost(done), search.drop(done)))
            for done in self.trials.known.values()
            if done.trial.predicted is not None and done.price is not None
        ]
        if not pairs:
            return None
        ranks = [
            rank_correlation([p[i] for p, _ in pairs], [m[i] for _, m in pairs]) for i in (0, 1)
        ]
        return Prediction(len(pairs), ranks[0], ranks[1])

    def _spent(self) -> dict[str, float]:
        """Seconds by method; those of a stack are shared among its methods."""
        found: dict[str, float] = {}
        for done in self.trials.known.values():
            names = [done.trial.peer] if done.trial.peer else [
                step.kind.name for step in done.trial.stack.steps
            ] or [ORIGINAL]  # fmt: skip
            for name in names:
                found[name] = found.get(name, 0.0) + done.seconds / len(names)
        return found


def _engine(done: Done) -> str:
    return (done.price.engine if done.price is not None else "") or "onnxruntime"


def _methods(done: Done) -> list[str]:
    """What is more than another form of the same network."""
    return [s.kind.name for s in done.trial.stack.steps if s.kind.aspect is not Aspect.FORMS]
