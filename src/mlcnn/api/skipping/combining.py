"""``skip --method auto``: which methods, and which two of them together, by what each adds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.exits import candidate
from mlcnn.api.skipping.focusing import cheapest_mask
from mlcnn.api.skipping.narrow_exits import SHARES, exits_in
from mlcnn.api.skipping.narrowing import Bits, Narrowed, machines_of, setting_of
from mlcnn.api.skipping.selecting import ONE, Selecting
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier.costs import label
from mlcnn.workload import read

__all__ = ["combined"]

_NOT_BUILT: Mapping[frozenset[str], str] = {
    frozenset(
        {"bits", "select"}
    ): "a selected layer copies weights, and those of few bits are codes",
    frozenset({"bits", "focus"}): "no accelerator here leaves out positions",
    frozenset({"focus", "select"}): "a layer has a mask of positions or masks of channels",
    frozenset(
        {"exit", "focus"}
    ): "the masks of a batch are not gathered with the images that go on",
}
"""Why two methods are not put together."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a method, or two, came to on the images that choose.

    Attributes:
        methods: their names.
        cost: of an image, on average.
        lost: share of the images that is lost to the original.
        candidate: the network.
    """

    methods: tuple[str, ...]
    cost: float
    lost: float
    candidate: Candidate


def combined(work: Work, name: str) -> Dynamic:
    """Every method alone, then what the best of them gains by a second one.

    The best saves most for what it loses. Of two the budget is divided by the search of both.

    Raises:
        InputError: nothing meets the budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    search = _Search.of(work, parts)
    alone = list(search.alone())
    if not alone:
        raise InputError(
            f"--max-drop {work.options.max_drop:g}: no method saves anything within it"
        )
    order = sorted(alone, key=lambda step: -search.gain(step))
    steps, best = [*alone], order[0]
    told = list(search.told(order))
    for other in order[1:]:
        pair = (order[0].methods[0], other.methods[0])
        if (why := _NOT_BUILT.get(frozenset(pair))) is not None:
            told.append(f"{pair[0]} with {pair[1]} is not built: {why}")
            continue
        step = search.pair(pair)
        if step is not None:
            steps.append(step)
            told.append(search.added(pair, order[0], step))
            best = min(best, step, key=lambda item: item.cost)
    done = work.judge(name, [step.candidate for step in steps], parts)
    if "select" in done.point.method:
        told.append(ONE)
    return replace(done, notes=(*parts.told, *told))


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The methods, and what they share: heads, and what the network is right about."""

    work: Work
    parts: Parts
    selecting: Selecting
    whole: float
    _bits: list[Bits] = field(default_factory=list)

    @classmethod
    def of(cls, work: Work, parts: Parts) -> "_Search":
        cost = work.cost_of(work.model)
        whole = sum(map(cost, read(work.model, batch=1).layers))
        return cls(work, parts, Selecting.of(work, parts), whole)

    def alone(self) -> Iterator[_Step]:
        """Each method within the whole budget, where it saves anything."""
        methods: dict[str, Callable[[], _Step]] = {"exit": self._exit, "select": self._select}
        if self.work.options.objective == "energy":
            methods["bits"] = self._narrow
        else:
            methods["focus"] = self._focus
        for name, find in methods.items():
            try:
                yield find()
            except InputError as error:
                self.work.say(f"{name}: {error}")

    def gain(self, step: _Step) -> float:
        """Cost saved for each image lost; of one at least, so that a number comes out."""
        least = 1 / len(self.parts.choose)
        return (self.whole - step.cost) / max(step.lost, least)

    def pair(self, methods: tuple[str, str]) -> _Step | None:
        """Two methods together, an exit and another one; None where they find nothing."""
        return self._narrow_exit() if "bits" in methods else self._select_exit()

    def told(self, order: list[_Step]) -> Iterator[str]:
        """What each method saves alone, the best first."""
        quantity = label(self.work.quantity)
        for step in order:
            yield (
                f"{step.methods[0]} alone saves {self._saved(step):.1f} % of the {quantity} for "
                f"{100 * step.lost:.2f} points on the images that choose"
            )

    def added(self, pair: tuple[str, str], first: _Step, both: _Step) -> str:
        """What a second method adds."""
        more = self._saved(both) - self._saved(first)
        return (
            f"{pair[0]} with {pair[1]}: {self._saved(both):.1f} %; of it {pair[0]} alone "
            f"{self._saved(first):.1f} and {pair[1]} {more:+.1f}"
        )

    def _saved(self, step: _Step) -> float:
        return 100 * (1 - step.cost / self.whole)

    def _lost(self, right: np.ndarray) -> float:
        return float(self.selecting.ends[0].right.mean() - right.mean())

    def _exit(self) -> _Step:
        exits = self.selecting.exits
        found = exits.found_at(exits.places(self.selecting.heads))
        best = min(found, key=lambda item: item.thresholds.cost)
        count = len(self.parts.choose)
        before = float(self.selecting.ends[0].right.mean())
        lost = before - best.thresholds.right / count
        return _Step(
            ("exit",), best.thresholds.cost / count, lost, candidate(self.work.model, best)
        )

    def _select(self) -> _Step:
        found = self.selecting.found()
        lost = self._lost(found.choose.end.right)
        return _Step(("select",), found.cost, lost, self.selecting.candidate(found))

    def _select_exit(self) -> _Step | None:
        found = self.selecting.with_exit()
        if found is None or found.sure is None:
            return None
        leaves = found.choose.head.sure >= found.sure
        right = np.where(leaves, found.choose.head.right, found.choose.end.right)
        made = self.selecting.candidate(found)
        return _Step(("exit", "select"), found.cost, self._lost(right), made)

    def _focus(self) -> _Step:
        found = cheapest_mask(self.work, self.parts)
        if found is None:
            raise InputError("focus: no mask saves anything within the budget")
        made, cost, lost = found
        return _Step(("focus",), cost, lost, made)

    def _narrow(self) -> _Step:
        if not self._bits:
            self._bits.append(Bits.of(self.work, self.parts, machines_of(self.work)))
        (bits,) = self._bits
        return self._of_bits(bits, bits.within(self.work.options.max_drop / 100))

    def _of_bits(self, bits: Bits, found: Narrowed) -> _Step:
        cost = sum(map(self.work.cost_of(found.model), read(found.model, batch=1).layers))
        made = Candidate("bits", setting_of(found.widths), found.model, found.model)
        return _Step(("bits",), cost, bits.drops(found)[0], made)

    def _narrow_exit(self) -> _Step | None:
        (bits,) = self._bits
        steps: list[_Step] = []
        for share in SHARES:
            found = bits.within(share * self.work.options.max_drop / 100)
            for item, made in exits_in(self.work, self.parts, bits, found):
                count = len(self.parts.choose)
                lost = float(bits.end[0].right.mean()) - item.thresholds.right / count
                steps.append(_Step(("bits", "exit"), item.thresholds.cost / count, lost, made))
        return min(steps, key=lambda step: step.cost, default=None)
