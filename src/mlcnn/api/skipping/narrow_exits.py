"""Few bits and early exits together: SeFAct without its selection of filters [Snigdha 2019]."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import onnx_ir as ir

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.exits import Ends, Found, Place, Search, candidate
from mlcnn.api.skipping.narrowing import (
    Bits,
    Narrowed,
    machines_of,
    point_of,
    right_before,
    setting_of,
)
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier import Frontier, Point

__all__ = ["SHARES", "exits_in", "exits_of", "narrow_with_exits"]

SHARES = (1 / 3, 2 / 3, 1.0)
"""Of the budget that bits may spend; exits spend what is left, if anything is."""
_LEAST = 0.1
"""Of the budget: exits are not looked for with less."""


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
    for share in SHARES:
        found = bits.within(share * work.options.max_drop / 100)
        if any(found.widths == other.widths for other, *_ in made):
            continue
        made.append((found, found.model, point_of(work, parts, before, found)))
        made += (
            (found, each.model, work.point(each, before, parts))
            for _, each in exits_in(work, parts, bits, found)
        )
    frontier = Frontier(work.original(before, parts), tuple(p for *_, p in made), "energy_pj")
    best = work.best(frontier.points, frontier.quantity)
    chosen, model = next((found, model) for found, model, point in made if point is best)
    notes = (*parts.told, *bits.told(chosen))
    return Dynamic(name, work.model, model, best, frontier, notes)


def exits_in(
    work: Work, parts: Parts, bits: Bits, found: Narrowed
) -> Iterator[tuple[Found, Candidate]]:
    """The network of few bits with exits, within what bits leave of the budget.

    Args:
        work: with the network in floats.
        parts: the images.
        bits: the search for bits.
        found: the network of few bits.
    """
    left = work.options.max_drop - 100 * max(0.0, *bits.drops(found))
    if left < _LEAST * work.options.max_drop:
        return
    inner = replace(work, model=found.model, options=replace(work.options, max_drop=left))
    search = Search(inner, parts, found.model)
    yield from exits_of(inner, parts, found, search.places(search.fitted()))


def exits_of(
    work: Work, parts: Parts, found: Narrowed, places: Sequence[Place], *, most: int = 2
) -> Iterator[tuple[Found, Candidate]]:
    """The network of few bits with exits, within the budget of the options.

    Args:
        work: with the network of few bits.
        parts: the images.
        found: the network of few bits.
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
        yield item, replace(candidate(work.model, item), method="bits+exit", setting=setting)
