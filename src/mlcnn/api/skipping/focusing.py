"""Focus: convolutions compute the positions that a mask of the image keeps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.background import CONSTANT, constant_mask
from mlcnn.api.skipping.focus_search import CENTRE, RANDOM, Masking, Search
from mlcnn.api.skipping.focused_forms import fastest_forms
from mlcnn.api.skipping.masked_training import trained_under
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.curve import Point
from mlcnn.ops.focused import KIND
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms
from mlcnn.workload import read

__all__ = ["blind_masks", "cheapest_mask", "focusing"]

_UNTRAINED = "the network was trained under the chosen masks, not under those beside it"
_COUNTED = 1000
"""Images that multiplications are counted on, to compare masks at one cost."""
_NEAR = 3.0
"""Percentage points of the multiplications, within which costs are called the same."""
_SHOWN = 8
"""Images whose layers are timed."""


def focusing(work: Work, name: str) -> Dynamic:
    """Choose a mask, and put masks that know nothing of the image beside it at the same cost.

    Raises:
        InputError: the network has no layers with height and width, or nothing meets the budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    chosen, exact = _Chosen(work, parts), constant_mask(work, parts)
    found = [] if exact is None else [chosen.candidate(work.model, exact, {}, ())]
    if work.options.max_drop or work.together is not None:
        found += chosen.searched()
    if not any(not item.yardstick for item in found):
        raise InputError(
            f"--max-drop {work.options.max_drop:g}: no mask saves anything within it; allow more, "
            "or train the network under masks (--finetune)"
        )
    done = work.judge(name, found, parts)
    best = next(item for item, point in zip(found, done.frontier.points, strict=True)
                if point is done.point)  # fmt: skip
    notes = (
        *done.notes,
        *_compared(done),
        *_left_out(work, best, parts),
        *_exact(work, best, parts),
    )
    return replace(done, notes=notes)


def blind_masks(work: Work, parts: Parts, share: float) -> list[Candidate]:
    """Masks that know nothing of the image, as yardsticks.

    Args:
        work: the network.
        parts: the images.
        share: of the multiplications, that they leave.
    """
    search, chosen = Search(work, parts, work.model), _Chosen(work, parts)
    try:
        found = [chosen.yardstick(search, masking, share) for masking in search.blind()]
    except InputError as error:
        work.say(f"no masks at the same cost: {error}")
        return []
    return [replace(each, model=each.definition or each.model, definition=None) for each in found]


def cheapest_mask(work: Work, parts: Parts) -> tuple[Candidate, float, float] | None:
    """The mask within the budget that leaves out most; None where there is none.

    Returns:
        The network, its multiplications, and the share of the images that choose which is lost.
    """
    search, chosen = Search(work, parts, work.model), _Chosen(work, parts)
    kept = chosen.within(search, search.maskings())
    if not kept:
        return None
    best = min(kept, key=lambda each: each.cost)
    cost = best.cost * best.masking.opened.dense()
    return chosen.made(best), cost, search.lost(best.masking, best.way)


def _compared(done: Dynamic) -> Iterator[str]:
    """How the chosen one stands to the yardsticks, on images that nothing was chosen on."""
    for point in done.frontier.points:
        mine, theirs = done.point.test_change, point.test_change
        near = abs(_percent(point, done) - _percent(done.point, done)) < _NEAR
        if "yardstick" in point.setting and near and mine and theirs:
            ahead = 100 * (mine.top1 - theirs.top1)
            stands = "ahead of" if ahead > 0 else "behind" if ahead < 0 else "level with"
            yield (
                f"{done.point.method} is {abs(ahead):.2f} points {stands} {point.method} at the "
                f"same cost ({_percent(done.point, done):.1f} and {_percent(point, done):.1f} % of "
                "the multiplications)"
            )


def _exact(work: Work, best: Candidate, parts: Parts) -> Iterator[str]:
    """How far results are from those without a mask that is to change nothing."""
    if best.method == f"focus {CONSTANT}":
        both = (work.scores(each, parts.test, "compare")[0] for each in (work.model, best.model))
        apart = float(np.abs(np.subtract(*both)).max())
        yield f"scores differ by at most {apart:.1e} on {len(parts.test):,} images"


def _left_out(work: Work, best: Candidate, parts: Parts) -> Iterator[str]:
    """Of which layers how much is left out, and in which forms they are saved."""
    if best.definition is None:
        return
    pixels = work.normal.apply(parts.test.images)
    kept = recorded(best.definition, pixels).kept
    forms = {layer.name: layer.form for layer in read(best.model, batch=1).layers}
    by_mask: dict[tuple[str, str | None], list[str]] = {}
    for layer in read(best.definition, batch=1).layers:
        if layer.positions:
            by_mask.setdefault((layer.positions, forms[layer.name]), []).append(layer.name)
    told = (
        f"{_range(names)} {100 * (1 - kept[KIND, mask].mean()):.1f} % ({form})"
        for (mask, form), names in by_mask.items()
    )
    yield f"multiplications left out, by layer (form that is saved): {', '.join(told)}"


def _range(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _percent(point: Point, done: Dynamic) -> float:
    before = done.frontier.original.costs["multiplications"].mean
    return 100 * point.costs["multiplications"].mean / before


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Masks within the budget.

    Attributes:
        search: of the network that they are of.
        masking: the masks.
        way: how far along their path.
        cost: share of the multiplications that they leave, of images that choose.
    """

    search: Search
    masking: Masking
    way: float
    cost: float


@dataclass(slots=True)
class _Chosen:
    """Candidates within the budget, and the yardsticks beside the cheapest of them."""

    work: Work
    parts: Parts

    def searched(self) -> list[Candidate]:
        """By sources whose masks lose accuracy; none where nothing is within the budget.

        Of a network that was trained under masks, too; what it was before may be ahead.
        """
        search = Search(self.work, self.parts, self.work.model)
        maskings = search.maskings()
        kept = self.within(search, maskings)
        if self.work.together is not None:
            search, maskings = self._trained(search, maskings)
            kept += self.within(search, maskings)
        if not kept:
            return []
        best = min(kept, key=lambda each: each.cost)
        beside = self._beside(best.search, best.masking, [each.masking for each in kept])
        blind = [self.yardstick(best.search, masking, best.cost) for masking in beside]
        return [self.made(each) for each in kept] + blind

    def within(self, search: Search, maskings: Iterable[Masking]) -> "list[_Kept]":
        """Each as far along its path as the budget allows; those that leave out something."""
        budget = self.work.options.max_drop / 100
        ways = [(masking, search.farthest(masking, budget)) for masking in maskings]
        return [_Kept(search, m, way, self._cost(m, way)) for m, way in ways if way]

    def made(self, kept: "_Kept") -> Candidate:
        """The network with these masks."""
        masking, way = kept.masking, kept.way
        focus = masking.opened.settled(masking.path.at(way))
        notes = ("trained under masks",) if masking.trained else ()
        return self.candidate(kept.search.model, focus, masking.setting(way), notes)

    def _beside(
        self, search: Search, best: Masking, maskings: Sequence[Masking]
    ) -> Iterator[Masking]:
        """Masks that know nothing of the image, where the best ones do; and random ones."""
        if best.source != CENTRE:
            blind = [m for m in maskings if m.source == CENTRE and m.trained == best.trained]
            focus = replace(best.opened.focus, source=CENTRE)
            yield blind[0] if blind else search.masking(focus, best.layer, best.path)
        focus = replace(best.opened.focus, source=RANDOM)
        yield search.masking(focus, best.layer, best.path)

    def _cost(self, masking: Masking, way: float) -> float:
        """Of images that choose, as a share of the network's without masks."""
        opened = masking.opened
        return (
            float(opened.costs(masking.path.at(way), self.parts.choose.first(_COUNTED)).mean())
            / opened.dense()
        )

    def _trained(
        self, search: Search, maskings: tuple[Masking, ...]
    ) -> tuple[Search, tuple[Masking, ...]]:
        """The network trained under the masks that do least at the cost that was asked for."""
        work = self.work
        if work.together is None:
            raise ValueError("nothing trains")
        images = self.parts.choose.first(_COUNTED)
        ways = [masking.at_cost(work.options.keep, images) for masking in maskings]
        moved = [
            search.moved(masking.opened, masking.path.at(way))
            for masking, way in zip(maskings, ways, strict=True)
        ]
        at = moved.index(min(moved))
        masking, way = maskings[at], ways[at]
        work.say(f"trains under {masking.source} {masking.setting(way)}")
        focus = masking.opened.settled(masking.path.at(way))
        model = trained_under(work, work.together, focus)
        after = Search(work, self.parts, model)
        again = after.masking(masking.opened.focus, masking.layer, masking.path)
        return after, (replace(again, trained=way),)

    def yardstick(self, search: Search, masking: Masking, share: float) -> Candidate:
        """At the cost of the chosen one."""
        way = masking.at_cost(share, self.parts.choose.first(_COUNTED))
        focus = masking.opened.settled(masking.path.at(way))
        setting = {**masking.setting(way), "yardstick": "same cost"}
        return self.candidate(search.model, focus, setting, ())

    def candidate(
        self, model: ir.Model, focus: Focus, setting: dict[str, float | str], notes: tuple[str, ...]
    ) -> Candidate:
        """The network with masks, in the forms that it is saved in."""
        made, yardstick = focus.apply(model).model, "yardstick" in setting
        if yardstick:
            formed = with_forms(made, "mask")
        elif self.work.measure:
            images = self.work.normal.apply(self.parts.choose.images[:_SHOWN])
            formed = fastest_forms(made, images, self.work.tell)
        else:
            formed = with_forms(made, "gather")
        method = ", ".join((f"focus {focus.source}", *notes))
        return Candidate(method, setting, formed, yardstick=yardstick, definition=made)
