"""Focus: convolutions compute the positions that a mask of the image keeps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.counting import executed_multiplications
from mlcnn.errors import InputError
from mlcnn.frontier.activity import Activity, recorded
from mlcnn.frontier.curve import Point
from mlcnn.frontier.masks import Tried, cheapest
from mlcnn.ops.focused import Striding
from mlcnn.passes.exit_heads import exit_points
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms
from mlcnn.training import ImageSet
from mlcnn.workload import read

__all__ = ["focusing"]

_FORM = "gather"
_SHARES = tuple(np.linspace(0.05, 0.6, 12))
"""Shares of the positions that are left out, behind which a threshold is looked for."""
_SOURCES = ("contrast", "brightness")
_YARDSTICKS = ("centre", "random")
_HOPELESS = 4.0
"""Budgets lost, from which on larger shares are not looked at."""
_LEVELS = 65


def focusing(work: Work, name: str) -> Dynamic:
    """Choose a mask, and put masks that know nothing of the image beside it at the same cost.

    Raises:
        InputError: the network has no layers with height and width, or nothing meets the budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    search = _Search(work, parts)
    found = search.found()
    candidates = [search.candidate(item) for item in found]
    best = min(found, key=lambda item: item.tried.cost)
    candidates += (search.yardstick(best, source) for source in _YARDSTICKS)
    done = work.judge(name, candidates, parts)
    return replace(done, notes=(*done.notes, *_compared(done)))


def _compared(done: Dynamic) -> Iterator[str]:
    """How the chosen one stands to the yardsticks, on images that nothing was chosen on."""
    for point in done.frontier.points:
        mine, theirs = done.point.test_change, point.test_change
        if point.method in {f"focus {source}" for source in _YARDSTICKS} and mine and theirs:
            ahead = 100 * (mine.top1 - theirs.top1)
            stands = "ahead of" if ahead > 0 else "behind" if ahead < 0 else "level with"
            yield (
                f"{done.point.method} is {abs(ahead):.2f} points {stands} {point.method} at the "
                f"same cost ({_percent(done.point, done):.1f} and {_percent(point, done):.1f} % of "
                "the multiplications)"
            )


def _percent(point: Point, done: Dynamic) -> float:
    before = done.frontier.original.costs["multiplications"].mean
    return 100 * point.costs["multiplications"].mean / before


@dataclass(frozen=True, slots=True)
class _Found:
    """A mask within the budget."""

    focus: Focus
    layer: str
    tried: Tried


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for masks within the budget."""

    work: Work
    parts: Parts

    def found(self) -> tuple[_Found, ...]:
        """The cheapest of each source; where one place stands for several, most of them decide."""
        layer, at = self._place()
        both = (self.parts.choose, self.parts.check)
        before = [self.work.says(self.work.model, part).right for part in both]
        budget = self.work.options.max_drop / 100
        found: list[_Found] = []
        for source in _SOURCES:
            focus = Focus(at, source, stride=Striding.MAJORITY.value)
            best = cheapest([*self._tried(focus, before[0], budget)], before[0], before[1], budget)
            if best is not None:
                found.append(_Found(replace(focus, threshold=best.threshold), layer, best))
        if not found:
            raise InputError(
                f"--max-drop {self.work.options.max_drop:g}: no mask saves anything within it; "
                "allow more, or train the network under masks"
            )
        return tuple(found)

    def candidate(self, item: _Found, *, yardstick: bool = False) -> Candidate:
        """The network with a mask."""
        focus = item.focus
        setting = {"behind": item.layer, "threshold": focus.threshold, "stride": focus.stride}
        model = with_forms(focus.apply(self.work.model).model, _FORM)
        return Candidate(f"focus {focus.source}", setting, model, yardstick=yardstick)

    def yardstick(self, best: _Found, source: str) -> Candidate:
        """A mask that is the same of every image, at the cost of another one."""
        focus = replace(best.focus, source=source)
        images = self.parts.choose.first(1)
        levels = [float(level) for level in np.linspace(0, 1, _LEVELS)]  # its scores are
        # Not halved: where nothing is kept any more everything is computed again.
        apart = [
            abs(float(self._each(made.apply(self.work.model).model, images)[0]) - best.tried.cost)
            for made in (replace(focus, threshold=level) for level in levels)
        ]
        level = levels[int(np.argmin(apart))]
        equal = replace(best, focus=replace(focus, threshold=level))
        return self.candidate(equal, yardstick=True)

    def _place(self) -> tuple[str, str]:
        """The first place where all that is known of an image is one value."""
        for layer, at in exit_points(self.work.model):
            return layer, at
        raise InputError("no place for a mask: the network has no layers with height and width")

    def _tried(self, focus: Focus, before: NDArray[np.bool_], budget: float) -> Iterator[Tried]:
        """Settings of a source, of more and more positions left out."""
        for threshold in self._thresholds(focus):
            self.work.tell(f"try masks by {focus.source}", 0, 0)
            model = replace(focus, threshold=threshold).apply(self.work.model).model
            choose, check = (
                self.work.says(model, part).right for part in (self.parts.choose, self.parts.check)
            )
            cost = float(self._each(model, self.parts.choose).mean())
            yield Tried(threshold, cost, choose, check)
            if before.mean() - choose.mean() > _HOPELESS * max(budget, 0.01):
                return

    def _thresholds(self, focus: Focus) -> list[float]:
        """Scores of positions of the images that choose, that so many lie below."""
        probe = focus.scores(self.work.model)
        (scores,) = self.work.scores(probe, self.parts.choose, "score positions")
        return [float(value) for value in np.quantile(scores.astype(np.float64), _SHARES)]

    def _each(self, model: ir.Model, images: ImageSet) -> NDArray[np.float64]:
        """The multiplications of each image."""
        activity: Activity = recorded(model, self.work.normal.apply(images.images))
        layers = read(model, batch=1).every
        return activity.each(layers, executed_multiplications)
