"""Few bits and early exits together: SeFAct without its selection of filters [Snigdha 2019]."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.exits import Ends, Place, Search, candidate
from mlcnn.api.skipping.narrowing import (
    Bits,
    Narrowed,
    machines_of,
    point_of,
    right_before,
    setting_of,
)
from mlcnn.api.skipping.work import Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier import Frontier, Point
from mlcnn.training.intervals import Right

__all__ = ["exits_of", "narrow_with_exits"]

_SHARES = (1 / 3, 2 / 3, 1.0)
"""Of the budget that bits may spend; exits spend what is left, if anything is."""


def narrow_with_exits(work: Work, name: str) -> Dynamic:
    """The network with few bits that images leave early, at the energy that is least.

    Args:
        work: what is left to do.
        name: of the network.

    Raises:
        InputError: as for bits and exits by themselves.
    """
    work = replace(work, options=replace(work.options, objective="energy"))
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    bits = Bits.of(work, parts, machines_of(work))
    before = right_before(work, parts, bits.end)
    made: list[tuple[Narrowed, ir.Model, Point]] = []
    for share in _SHARES:
        found = bits.within(share * work.options.max_drop / 100)
        if any(found.widths == other.widths for other, *_ in made):
            continue
        made.append((found, found.model, point_of(work, parts, before, found)))
        if share == 1:
            continue
        left = work.options.max_drop - 100 * max(0.0, *bits.drops(found))
        inner = replace(work, model=found.model, options=replace(work.options, max_drop=left))
        search = Search(inner, parts, found.model)
        exits = exits_of(inner, parts, found, before, search.places(search.fitted()))
        made += ((found, *each) for each in exits)
    frontier = Frontier(work.original(before, parts), tuple(p for *_, p in made), "energy_pj")
    best = work.best(frontier.points, frontier.quantity)
    chosen, model = next((found, model) for found, model, point in made if point is best)
    notes = (*parts.told, *bits.told(chosen))
    return Dynamic(name, work.model, model, best, frontier, notes)


def exits_of(
    work: Work,
    parts: Parts,
    found: Narrowed,
    before: Mapping[str, Right],
    places: Sequence[Place],
    *,
    most: int = 2,
) -> Iterator[tuple[ir.Model, Point]]:
    """The network of few bits with exits, within the budget of the options.

    Args:
        work: with the network of few bits.
        parts: the images.
        found: the network of few bits.
        before: what the original has right, of the images that check and of those for the test.
        places: heads, fitted.
        most: how many networks.
    """
    try:
        right = int(found.choose.right.sum()), int(found.check.right.sum())
        ends = Ends(found.choose, found.check, right)
        exits = Search(work, parts, work.model).search(places, ends)
    except InputError as error:
        work.say(f"{setting_of(found.widths)}: {error}")
        return
    for item in exits[:most]:
        setting = {**setting_of(found.widths), **item.setting}
        made = replace(candidate(work.model, item), method="bits+exit", setting=setting)
        yield made.model, work.point(made, before, parts)
