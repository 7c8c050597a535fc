"""Selection: of layers behind a head the channels that its candidate classes need [SeFAct 2019]."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.excluding import exclusion
from mlcnn.api.skipping.exits import Ends, Search, candidate
from mlcnn.api.skipping.selection import Ran, Selection, Setting
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.api.skipping.yardsticks import compared, yardsticks
from mlcnn.errors import InputError
from mlcnn.frontier.exits import Judged, thresholds
from mlcnn.frontier.tried import Tried, cheapest
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, with_heads
from mlcnn.passes.select import HEAD, for_one, with_selection

__all__ = ["ONE", "Chosen", "Selecting", "selecting"]

_BETAS = (0.9, 0.97, 0.99, 0.999)
_TAUS = (0.5, 0.65, 0.8, 0.9, 0.95, 0.985)
SETTINGS = tuple(Setting(beta, tau) for beta in _BETAS for tau in _TAUS)
"""What is tried."""

_SITES = 3
_WITHIN = (0.25, 0.75)
"""Share of the work in front of a head: behind it something has to be left to select from."""
_TIGHTER = 5
_SOME = 1_000


def selecting(work: Work, name: str) -> Dynamic:
    """Choose a head, its candidates and their channels; judge yardsticks beside it.

    Raises:
        InputError: there is no place for a head, or nothing meets the budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    search = Selecting.of(work, parts)
    found = search.found()
    candidates = [search.candidate(found)]
    together = search.with_exit()
    if together is not None:
        candidates.append(search.candidate(together))
    candidates += search.exit_alone()
    if not work.options.compared:
        return work.judge(name, candidates, parts)
    candidates += yardsticks(work, parts, found.selection, found.cost)
    done = work.judge(name, candidates, parts)
    notes = (*parts.told, ONE, *compared(done, candidates))
    return replace(done, notes=notes)


ONE = "the saved network takes one image at a time: the images of a batch choose different channels"


def _ran(selection: Selection, parts: Parts) -> tuple[Mapping[Setting, Ran], Mapping[Setting, Ran]]:
    """What settings give on the images that choose and check: those that some images bear out.

    A setting goes that costs some of the images more than another one and is right less often.
    """
    some = selection.ran(parts.choose.first(_SOME), SETTINGS)
    each = {setting: (ran.cost.mean(), -ran.end.right.sum()) for setting, ran in some.items()}
    settings = [
        one for one, (cost, wrong) in each.items()
        if not any(c < cost and w < wrong for c, w in each.values())
    ]  # fmt: skip
    return selection.ran(parts.choose, settings), selection.ran(parts.check, settings)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A setting within the budget.

    Attributes:
        selection: the layers and their head.
        setting: candidates and channels.
        choose: what it gave on the images that choose.
        check: on those that check.
        sure: from which probability on images leave at the head; None where none does.
        cost: of an image that chooses, on average.
    """

    selection: Selection
    setting: Setting
    choose: Ran
    check: Ran
    sure: float | None
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class Selecting:
    """Looks for settings within the budget.

    Attributes:
        work: what is left to do.
        parts: the images.
        exits: the search for exits, with whose heads channels are chosen too.
        heads: all that are fitted, by the layer in front of them.
        selections: those behind which channels are selected.
        ran: what every setting gave, of each selection, on the images that choose and check.
        ends: what the whole network says of them.
    """

    work: Work
    parts: Parts
    exits: Search
    heads: Mapping[str, Head]
    selections: tuple[Selection, ...]
    ran: tuple[tuple[Mapping[Setting, Ran], Mapping[Setting, Ran]], ...]
    ends: tuple[Judged, Judged]

    @classmethod
    def of(cls, work: Work, parts: Parts) -> "Selecting":
        """Fit heads, find out what channels matter, and try all settings.

        Raises:
            InputError: there is no place for a head.
        """
        exits = Search(work, parts, work.model)
        heads = exits.fitted()
        chosen = exits.between(heads, _WITHIN, _SITES)
        selections = tuple(Selection.of(work, n, h, parts.choose) for n, h in chosen.items())
        ran = tuple(_ran(each, parts) for each in selections)
        ends = (work.says(work.model, parts.choose), work.says(work.model, parts.check))
        return cls(work, parts, exits, heads, selections, ran, ends)

    def within(self, max_drop: float) -> "Selecting":
        """The same search with another budget, in percentage points."""
        work = replace(self.work, options=replace(self.work.options, max_drop=max_drop))
        return replace(self, work=work, exits=replace(self.exits, work=work))

    def found(self) -> Chosen:
        """The cheapest selection within the budget.

        Raises:
            InputError: none saves anything within it.
        """
        budget = self._budget
        items = list(self._items())
        tried = [
            Tried(item.setting.tau, item.cost, item.choose.end.right, item.check.end.right)
            for item in items
        ]
        best = cheapest(tried, self.ends[0].right, self.ends[1].right, budget)
        whole = self.exits.whole_cost
        found = next((i for i, each in zip(items, tried, strict=True) if each is best), None)
        if found is None or found.cost >= whole:
            raise InputError(
                f"--max-drop {100 * budget:g}: no selection of channels saves anything within it; "
                "allow more"
            )
        return found

    def with_exit(self) -> Chosen | None:
        """The cheapest within the budget where images leave that the head is sure of, if any."""
        found = [self._left(item, self._budget) for item in self._items()]
        return min((each for each in found if each), key=lambda item: item.cost, default=None)

    def exit_alone(self) -> list[Candidate]:
        """The cheapest exit within the budget, and the cheapest exclusion of classes."""
        places = self.exits.places(self.heads)
        try:
            best = min(self.exits.found_at(places), key=lambda item: item.thresholds.cost)
        except InputError as error:
            self.work.say(str(error))
            return exclusion(self.exits, places)
        alone = replace(candidate(self.work.model, best), yardstick=True)
        return [alone, *exclusion(self.exits, places)]

    @property
    def _budget(self) -> float:
        return self.work.options.max_drop / 100

    def _items(self) -> Iterator[Chosen]:
        for selection, (choose, check) in zip(self.selections, self.ran, strict=True):
            for setting, ran in choose.items():
                yield Chosen(selection, setting, ran, check[setting], None, float(ran.cost.mean()))

    def _left(self, item: Chosen, budget: float) -> Chosen | None:
        """With the threshold from which on images leave, less while those that check lose more."""
        before = tuple(int(each.right.sum()) for each in self.ends)
        ends = Ends(item.choose.end, item.check.end, (before[0], before[1]))
        costs = (item.selection.before, item.cost)
        allowed = budget
        for _ in range(_TIGHTER):
            count = ends.allowed(allowed)
            if count < 0:
                return None
            chosen = thresholds([item.choose.head], item.choose.end, costs, count)
            drop = ends.drop([item.check.head], chosen.values)
            if drop <= budget and chosen.values[0] <= 1:
                sure = chosen.values[0]
                leaves = item.choose.head.sure >= sure
                cost = np.where(leaves, costs[0], item.choose.cost)
                return replace(item, sure=sure, cost=float(cost.mean()))
            allowed *= min(budget / max(drop, 1e-9), 0.9)
        return None

    def candidate(self, item: Chosen) -> Candidate:
        """The network, to be judged."""
        selection, setting = item.selection, item.setting
        headed = with_heads(self.work.model, [selection.head])
        tables = selection.tables(setting.tau)
        made = with_selection(headed, selection.layers, tables, setting.beta)
        told: dict[str, float | str] = {
            "behind": selection.layer, "beta": setting.beta, "tau": setting.tau
        }  # fmt: skip
        if item.sure is None:
            made.graph.outputs.pop()
            return Candidate("select", told, for_one(made), headed, more=selection.more)
        left = EarlyExit(f"{HEAD}={item.sure!r}").apply(for_one(made)).model
        return Candidate(
            "select+exit", {**told, "exit": item.sure}, left, headed, more=selection.more
        )
