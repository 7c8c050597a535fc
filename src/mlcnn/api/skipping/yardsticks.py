"""What a method that chooses by the image has to beat: what chooses nothing, at its cost."""

from collections.abc import Iterator, Sequence

import torch

from mlcnn import graph, nn, training
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.loading import load
from mlcnn.api.optimizing import rewrite
from mlcnn.api.skipping.focusing import blind_masks
from mlcnn.api.skipping.selection import Selection
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.errors import MlcnnError
from mlcnn.frontier import COMPRESSIONS, Point, Settings
from mlcnn.frontier.costs import label
from mlcnn.passes.select import with_masks
from mlcnn.workload import read

__all__ = ["compared", "yardsticks"]

_STEPS = 12
_EQUAL = 0.01
"""Of the original's cost: what is no farther apart costs the same."""


def yardsticks(work: Work, parts: Parts, selection: Selection, cost: float) -> list[Candidate]:
    """Networks that compute the same of every image, at a cost.

    Args:
        work: the network.
        parts: the images.
        selection: what is known of channels.
        cost: of an image, of the quantity that is to be small.
    """
    found = [_static_channels(work, selection, cost)]
    if work.options.objective == "multiplications":
        whole = sum(map(work.cost_of(work.model), read(work.model, batch=1).layers))
        found += blind_masks(work, parts, cost / whole)
    return found + (_given(work) or _compressed(work, cost))


def _given(work: Work) -> list[Candidate]:
    """The network that the user names, as ``compress`` made it."""
    if not work.options.beside:
        return []
    model = rewrite(load(work.options.beside), "fold-batch-norm").model
    setting = {"network": work.options.beside}
    return [Candidate("compressed", setting, model, model, yardstick=True)]


def _static_channels(work: Work, selection: Selection, cost: float) -> Candidate:
    """The channels that matter most on average, for all images: the dearest below a cost."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if selection.static_cost(middle) <= cost else (low, middle)
    tau = low or 2.0**-_STEPS
    model = with_masks(work.model, selection.layers, selection.static(tau))
    setting = {"behind": selection.layer, "tau": tau}
    return Candidate("static channels", setting, model, work.model, yardstick=True)


def _compressed(work: Work, cost: float) -> list[Candidate]:
    """Whole channels gone by their size, nothing trained but statistics of batch norms."""
    whole = work.whole or work.model
    method = COMPRESSIONS["channels"]
    settings = Settings(quantity="multiplications", multiple=1)
    share = cost / sum(map(work.cost_of(work.model), read(work.model, batch=1).layers))
    try:
        started = method.start(whole, settings, share)
        module = nn.to_module(started.model)
        with torch.no_grad():
            started.cut.cut(module, share)
    except MlcnnError as error:
        work.say(f"no compressed network at the same cost: {error}")
        return []
    training.reestimate(module, work.data.calibration.first(500), work.normal)
    model = graph.without_dropout(nn.write_weights(module, started.model))
    model = rewrite(model, f"{method.after(settings)},fold-batch-norm").model
    return [Candidate("compressed", {"share": share}, model, model, yardstick=True)]


def compared(done: Dynamic, candidates: Sequence[Candidate]) -> Iterator[str]:
    """How each method, and what was chosen, stands to yardsticks on images of no choice.

    Args:
        done: what was chosen, and all that was tried.
        candidates: what was tried, in that order.
    """
    quantity = done.frontier.quantity
    whole = done.frontier.original.costs[quantity].mean
    pairs = list(zip(candidates, done.frontier.points, strict=True))
    ours = {point.method: point for item, point in pairs if not item.yardstick}
    ours[done.point.method] = done.point
    yield f"beside others, {label(quantity)} and points to the original:"
    for mine in ours.values():
        for item, point in pairs:
            if item.yardstick:
                told = [_told(each, quantity, whole) for each in (mine, point)]
                stands = _stands(mine, point, quantity, whole)
                yield f"{mine.method} ({told[0]}) {stands} {point.method} ({told[1]})"


def _told(point: Point, quantity: str, whole: float) -> str:
    change = point.test_change
    points = "" if change is None else f", {100 * change.top1:+.2f}"
    return f"{100 * point.costs[quantity].mean / whole:.1f} %{points}"


def _stands(mine: Point, theirs: Point, quantity: str, whole: float) -> str:
    """In words: who is right more often at an equal cost, or beats the other in both."""
    if mine.test_change is None or theirs.test_change is None:
        return "was not compared with"
    cheaper = (theirs.costs[quantity].mean - mine.costs[quantity].mean) / whole
    better = mine.test_change.top1 - theirs.test_change.top1
    low, high = theirs.test_change.interval
    if abs(cheaper) <= _EQUAL:
        if abs(better) <= (high - low) / 2:
            return "is hardly apart from"
        return "beats" if better > 0 else "loses to"
    if cheaper * better >= 0:
        return "beats" if cheaper > 0 else "loses to"
    if cheaper > 0:
        return "is cheaper and wrong more often than"
    return "is dearer and right more often than"
