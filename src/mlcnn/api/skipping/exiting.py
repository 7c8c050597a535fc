"""``skip --method exit``: heads, where images leave, and what that has to beat."""

from dataclasses import replace

from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.excluding import exclusion
from mlcnn.api.skipping.exits import Search, candidate
from mlcnn.api.skipping.selection import Selection
from mlcnn.api.skipping.work import Work
from mlcnn.api.skipping.yardsticks import compared, yardsticks
from mlcnn.errors import InputError

__all__ = ["exits"]


def exits(work: Work, name: str) -> Dynamic:
    """Fit heads, choose where images leave, build, judge; yardsticks beside.

    Raises:
        InputError: there is no place for an exit, or nothing meets the budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    search = Search(work, parts, work.model)
    heads = fitted = search.fitted()
    if work.together is not None:
        heads = search.taken(heads)
        model, heads = work.together.trained(heads, work.data, work.normal, work.tell, work.say)
        search = replace(search, model=model)
    places = search.places(heads)
    found = search.found_at(places)
    candidates = [candidate(search.model, item) for item in found]
    if not work.options.compared:
        return work.judge(name, candidates, parts)
    candidates += exclusion(search, places)
    layer, head = next(iter(fitted.items()))
    cost = min(item.thresholds.cost for item in found) / len(parts.choose)
    try:
        known = Selection.of(work, layer, head, parts.choose)
        candidates += yardsticks(work, parts, known, cost)
    except InputError as error:
        work.say(f"nothing of the same cost to compare with: {error}")
    done = work.judge(name, candidates, parts)
    return replace(done, notes=(*done.notes, *compared(done, candidates)))
