"""The exploration: batches of designs from a strategy, mapped, and written to the journal."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlcnn.codesign.exploration.archive import Archive
from mlcnn.codesign.exploration.candidates import Candidates
from mlcnn.codesign.exploration.evaluation import Evaluation, Unfinished
from mlcnn.codesign.exploration.explored import Ending, Explored, FrontDesign, Start
from mlcnn.codesign.exploration.quantities import Limit, Quantity
from mlcnn.codesign.exploration.relaxed import Relaxing
from mlcnn.codesign.exploration.strategies import Strategy, batches
from mlcnn.codesign.exploration.template import Design, Space
from mlcnn.codesign.exploration.workers import Finished, Job, Workers
from mlcnn.codesign.interruption import interruptions
from mlcnn.errors import InfeasibleError
from mlcnn.journal import Journal

__all__ = ["Question", "Standing", "StartDesign", "Work"]

_START = "start"
_START_NUMBER = -1
_NEAREST = 3
"""Designs whose mappings are tried first."""


@dataclass(frozen=True, slots=True)
class StartDesign:
    """A design to improve on.

    Attributes:
        name: of it.
        values: of the template, choices as numbers.
        architecture: it.
    """

    name: str
    values: Mapping[str, float]
    architecture: Any


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for.

    Attributes:
        space: the designs.
        objectives: what is made small.
        limits: what a design must not be above.
        strategy: how designs are chosen.
        seed: of what is drawn.
        budget_s: seconds after which no design is begun, and those not finished are dropped.
        start: a design to improve on.
    """

    space: Space
    objectives: tuple[Quantity, ...]
    limits: tuple[Limit, ...] = ()
    strategy: Strategy = Strategy.GUIDED
    seed: int = 0
    budget_s: float = math.inf
    start: StartDesign | None = None

    def run(self, network: str, version: str, convention: str) -> dict[str, object]:
        """What the journal of a run is of."""
        start = self.start
        return {
            "mlcnn": version,
            "network": network,
            "template": f"{self.space.template.name} {self.space.template.digest}",
            "space": {one.name: list(one.shown) for one in self.space.parameters},
            "convention": convention,
            "search": str(self.strategy),
            "seed": self.seed,
            "objectives": [str(one) for one in self.objectives],
            "bounds": {str(one.quantity): one.most for one in self.limits},
            "start": None if start is None else dict(start.values),
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an exploration is.

    Attributes:
        scored: designs that were mapped.
        front: designs that no other beats.
        best: the best in the first objective, in words; empty for none yet.
        gap: of a single objective, how far that may be above the best of the space.
    """

    scored: int
    front: int
    best: str
    gap: float | None

    def __str__(self) -> str:
        gap = "" if self.gap is None else f", at most {self.gap:.1%} above the best"
        best = f": {self.best}" if self.best else ""
        return f"{self.scored} designs mapped, {self.front} on the front{best}{gap}"


class Work:
    """An exploration: what is known, and where it is written.

    Args:
        question: what is asked for.
        candidates: the designs that may be within the bounds.
        journal: where every finished design is written before it is told.
        workers: what maps designs.
        tell: told after every design.
        relaxing: the gradient search, of the strategy ``relaxed``.
    """

    def __init__(
        self,
        question: Question,
        candidates: Candidates,
        journal: Journal,
        workers: Workers,
        tell: Callable[[Standing], None],
        *,
        relaxing: Relaxing | None = None,
    ) -> None:
        self.question, self.candidates, self.relaxing = question, candidates, relaxing
        self.journal, self.workers, self.tell = journal, workers, tell
        self.archive = Archive(candidates, question.objectives, question.limits)
        self.known = journal.known()
        self.seconds = journal.seconds()
        self.why = ""
        self.deadline = time.time() + question.budget_s

    def explored(self, network: str) -> Explored:
        """Search for the designs that no other beats.

        Args:
            network: its name.

        Raises:
            InfeasibleError: no design that was mapped is within the bounds, or there was no time.
            InputError: the journal cannot be written.
        """
        question, archive = self.question, self.archive
        start: Start | None = None
        exhausted = False
        with interruptions() as interrupted:
            try:
                start = self._start()
                exhausted = self._search(interrupted)
            except Unfinished:
                pass
            except KeyboardInterrupt:
                if not archive.met():
                    raise
            stopped = interrupted()
        if stopped and not archive.met():
            raise KeyboardInterrupt
        front = tuple(self._designs(archive.front()))
        if not front:
            raise self._nothing(exhausted=exhausted)
        proven = exhausted and not archive.open().any()
        ending = Ending(exhausted, proven, stopped and not exhausted, self.seconds)
        return Explored(
            network, question.space, question.objectives, question.limits, question.strategy,
            question.seed, front, len(archive.found), len(self.candidates), archive.bound(),
            ending, start,
        )  # fmt: skip

    def _search(self, interrupted: Callable[[], bool]) -> bool:
        """Map batches until none is worth it, or the user interrupts.

        Returns:
            Whether none is worth it any more.
        """
        question = self.question
        for batch in batches(
            question.strategy, self.archive, question.seed, self._first(), self.relaxing
        ):
            if interrupted():
                return False
            self._batch(batch)
        return True

    def _designs(self, numbers: Sequence[int]) -> Iterator[FrontDesign]:
        for number in numbers:
            design, found = self.candidates.designs[number], self.archive.found[number]
            if found is not None:
                yield FrontDesign(design, self.question.space.hardware(design), found)

    def _told(self, number: int) -> str:
        return self.question.space.told(self.candidates.designs[number])

    def _batch(self, numbers: Sequence[int]) -> None:
        """Map designs, but those that the journal knows.

        Raises:
            Unfinished: the time is over.
        """
        names = {number: self._told(number) for number in numbers}
        first = len(self.archive.found)
        jobs: list[Job] = []
        results: dict[int, Evaluation | None] = {}
        for number in numbers:
            if names[number] in self.known:
                results[number] = _evaluation(self.known[names[number]])
            else:
                design = self.candidates.designs[number]
                machine = self.question.space.architecture(design)
                jobs.append(Job(number, machine, self._like(design)))
        try:
            for done in self.workers.map(jobs, self.deadline) if jobs else ():
                place = first + list(numbers).index(done.number)
                self._write(place, names[done.number], done)
                results[done.number] = done.found
                self.tell(self._standing(results))
        finally:  # in the order in which they were chosen, whoever was first
            for number in numbers:
                if number in results:
                    self.archive.found[number] = results[number]

    def _like(self, design: Design) -> tuple[Evaluation, ...]:
        """What the network comes to on the nearest designs that were mapped in earlier batches."""
        space = self.question.space
        mine = space.values(design).values()

        def apart(number: int) -> float:
            values = space.values(self.candidates.designs[number]).values()
            return sum(abs(math.log(one / other)) for one, other in zip(mine, values, strict=True))

        known = {number: one for number, one in self.archive.found.items() if one is not None}
        return tuple(known[number] for number in sorted(known, key=apart)[:_NEAREST])

    def _start(self) -> Start | None:
        """What the network comes to on the design to improve on.

        Raises:
            InfeasibleError: a layer fits in no way.
            Unfinished: the time is over.
        """
        start = self.question.start
        if start is None:
            return None
        if _START not in self.known:
            jobs = [Job(_START_NUMBER, start.architecture)]
            done = next(iter(self.workers.map(jobs, self.deadline)))
            self._write(_START_NUMBER, _START, done)
            self.known[_START] = None if done.found is None else done.found.to_json()
        found = _evaluation(self.known[_START])
        if found is None:
            raise InfeasibleError(f"{start.name} cannot run the network: {self.why}")
        return Start(start.name, found)

    def _first(self) -> int | None:
        """The candidate that is nearest to the design to improve on."""
        start, space = self.question.start, self.question.space
        if start is None:
            return None
        wanted = [math.log(start.values[one.name]) for one in space.parameters]

        def apart(number: int) -> float:
            values = space.values(self.candidates.designs[number]).values()
            return sum((math.log(v) - w) ** 2 for v, w in zip(values, wanted, strict=True))

        return min(range(len(self.candidates)), key=apart)

    def _write(self, number: int, name: str, done: Finished) -> None:
        result = None if done.found is None else done.found.to_json()
        self.journal.add(number, name, result, done.seconds)
        self.seconds += done.seconds
        self.why = done.why or self.why

    def _standing(self, results: Mapping[int, Evaluation | None]) -> Standing:
        archive = self.archive
        both = replace(archive, found={**archive.found, **results})
        front = both.front()
        if not front:
            return Standing(len(both.found), 0, "", None)
        first, bound = archive.objectives[0], both.bound()
        value = float(both.values(front[:1])[0, 0])
        told = f"{first} {first.told(value)} with {self._told(front[0])}"
        gap = value / bound - 1.0 if bound else None  # nothing bounds power but 0
        return Standing(len(both.found), len(front), told, gap)

    def _nothing(self, *, exhausted: bool) -> InfeasibleError:
        """Why there is no design: no time, no layer that fits, or a bound that none meets."""
        found = {n: one for n, one in self.archive.found.items() if one is not None}
        name, limits = self.question.space.template.name, self.question.limits
        if not self.archive.found:
            return InfeasibleError(
                f"no design of template {name} was mapped within {self.question.budget_s:g} s; "
                "allow a longer --budget, or more --processes"
            )
        if not found:
            return InfeasibleError(
                f"none of {len(self.archive.found)} designs of template {name} can run the "
                f"network: {self.why or 'a layer fits in no way'}"
            )
        mapped = f"none of the {len(found)} designs of template {name} that were mapped has"
        longer = "" if exhausted else ", or allow a longer --budget"
        for limit in limits:
            number = min(found, key=lambda n, q=limit.quantity: q.of(found[n]))
            least = limit.quantity.of(found[number])
            if least > limit.most:
                return InfeasibleError(
                    f"{mapped} {limit.told}: the least is {limit.quantity.told(least, up=True)}, "
                    f"with {self._told(number)}; raise the bound on {limit.quantity} to that or "
                    f"more{longer}"
                )
        return InfeasibleError(
            f"{mapped} {' and '.join(limit.told for limit in limits)} together, though some have "
            f"each; raise one of these bounds{longer}"
        )


def _evaluation(result: Mapping[str, Any] | None) -> Evaluation | None:
    return None if result is None else Evaluation.from_json(result)
