"""The page of a search for the cheapest way to run a network."""

from mlcnn.frontier.costs import label
from mlcnn.frontier.outcome import Entry, Outcome, Tried
from mlcnn.frontier.reasons import grouped
from mlcnn.report.charts.cheapest import front_charts, prediction_charts, spent_chart
from mlcnn.report.page import page
from mlcnn.report.sections.provenance import Content as Provenance
from mlcnn.report.sections.rows import CODE, NUMBER, WORDS, Content, rows
from mlcnn.report.sections.section import Section
from mlcnn.report.wording import percent, printable
from mlcnn.training.intervals import Difference, points

__all__ = ["cheapest_page"]

_INTERRUPTED = (
    "The search was interrupted: what stands here is the best so far, and test images were not "
    "looked at. The same command goes on."
)
_NOT_TOLD = {"network", "data", "recipe"}


def cheapest_page(outcome: Outcome) -> str:
    """The HTML text, complete in itself.

    Args:
        outcome: what the search came to.
    """
    made = (_answer(outcome), _tried(outcome), _spent(outcome), _foretold(outcome))
    sections = [section for section in made if section is not None]
    return page(outcome.name, "", [*sections, _provenance(outcome)])


def _answer(outcome: Outcome) -> Section:
    best = outcome.entries[outcome.best]
    lead = f"The cheapest is the network as it is: nothing that was tried is cheaper and loses at \
most {outcome.max_drop:g} points of accuracy."
    if outcome.gains:
        gains = outcome.gains[0].upper() + outcome.gains[1:]
        lead = f"{gains}, with {best.pipeline}{_within(best)}."
    known = {key: None for entry in outcome.entries for key in entry.costs}
    keys = [*dict.fromkeys([*outcome.objectives, *known])]
    columns = [("network", WORDS), ("pipeline", CODE), ("engine", WORDS)]
    columns += [(label(key), NUMBER) for key in keys]
    columns += [("top-1, test images", NUMBER), ("to the original", NUMBER),
                ("on images that chose nothing", NUMBER)]  # fmt: skip
    cells = [
        (
            entry.what, entry.pipeline, entry.engine,
            *(outcome.cost(entry, key) for key in keys),
            "" if entry.test is None else f"{100 * entry.test.top1:.2f} %",
            _points(entry.test_change, place), _points(entry.judged, place),
        )
        for place, entry in enumerate(outcome.plain)
    ]  # fmt: skip
    objective = " and ".join(map(label, outcome.objectives))
    table = rows(
        f"{objective}, at most {outcome.max_drop:g} points of accuracy lost; measured on "
        f"{outcome.where}",
        columns, cells, outcome.best,
    )  # fmt: skip
    warnings = ((_INTERRUPTED,) if outcome.interrupted else ()) + outcome.notes
    content = Content(printable(lead), tuple(map(printable, warnings)), (table,))
    return Section("summary", "The answer", "rows.html", content, front_charts(outcome))


def _within(best: Entry) -> str:
    if best.test_change is not None:
        return f"; {points(best.test_change)} on test images"
    return "" if best.chosen is None else f"; {points(best.chosen)} on the images that chose"


def _points(change: Difference | None, place: int) -> str:
    return "" if change is None or not place else points(change).replace(" points", "")


def _tried(outcome: Outcome) -> Section | None:
    columns = [
        ("no.", NUMBER), ("pipeline", CODE), ("images", NUMBER), ("share of cost", NUMBER),
        ("accuracy, points", NUMBER), ("seconds", NUMBER), ("why not", WORDS),
    ]  # fmt: skip
    cells = [_tried_row(number, one) for number, one in enumerate(outcome.tried, 1)]
    told = "In the order in which it was tried; accuracy on the images that choose"
    tables = [rows(told, columns, cells)] if cells else []
    if outcome.dropped:
        left = [("left out", CODE), ("why", WORDS)]
        tables.append(rows("Not gone on with", left, grouped(outcome.dropped)))
    if not tables:
        return None
    return Section("tried", "What was tried", "rows.html", Content(tables=tuple(tables)))


def _tried_row(number: int, one: Tried) -> tuple[str, ...]:
    return (
        str(number), one.pipeline, f"{one.images:,}" if one.images else "",
        "" if one.share is None else f"{one.share:.3f}",
        "" if one.change is None else points(one.change).replace(" points", ""),
        f"{one.seconds:,.1f}", one.why,
    )  # fmt: skip


def _spent(outcome: Outcome) -> Section | None:
    total, chart = sum(outcome.spent.values()), spent_chart(outcome)
    if chart is None:
        return None
    columns = [("method", WORDS), ("seconds", NUMBER), ("share", NUMBER)]
    cells = [
        (name, f"{seconds:,.1f}", percent(seconds / (total or 1)))
        for name, seconds in sorted(outcome.spent.items(), key=lambda item: -item[1])
    ]
    told = f"{outcome.seconds:,.0f} s in all"
    budget = outcome.options.get("budget_s")
    told += f" of a budget of {budget:,.0f} s" if budget else ""
    table = rows(f"{told}; judging and testing are the rest", columns, cells)
    content = Content(tables=(table,))
    return Section("budget", "Where the time went", "rows.html", content, (chart,))


def _foretold(outcome: Outcome) -> Section | None:
    if outcome.prediction is None:
        return None
    columns = [
        ("no.", NUMBER), ("pipeline", CODE), ("images", NUMBER),
        ("cost foretold", NUMBER), ("found", NUMBER),
        ("points lost, foretold", NUMBER), ("found", NUMBER),
    ]  # fmt: skip
    cells = [
        (
            str(number), t.pipeline, f"{t.images:,}", f"{t.predicted[0]:.3f}",
            "" if t.share is None else f"{t.share:.3f}", f"{t.predicted[1]:.2f}",
            "" if t.change is None else f"{-100 * t.change.top1:.2f}",
        )
        for number, t in enumerate(outcome.tried, 1)
        if t.predicted is not None
    ]  # fmt: skip
    told = outcome.prediction.told
    table = rows("Stacks whose cost and accuracy were foretold before they were tried", columns,
                 cells)  # fmt: skip
    content = Content(lead=f"{told[0].upper()}{told[1:]}.", tables=(table,))
    return Section(
        "predictions", "Foretold and found", "rows.html", content, prediction_charts(outcome)
    )


def _provenance(outcome: Outcome) -> Section:
    asked = [(_named(key), _value(value)) for key, value in outcome.options.items()
             if key not in _NOT_TOLD and _value(value)]  # fmt: skip
    facts = (
        ("network", str(outcome.options.get("network", ""))),
        ("images", str(outcome.options.get("data", ""))),
        ("pipeline", outcome.entries[outcome.best].pipeline),
        *asked,
        ("machine", outcome.where),
    )
    known = tuple((key, printable(value)) for key, value in facts if value)
    versions = tuple(sorted(outcome.versions.items()))
    content = Provenance(printable(outcome.replay), known, versions)
    return Section("provenance", "How to repeat the cheapest one", "provenance.html", content)


def _named(key: str) -> str:
    return f"{key.removesuffix('_s')}, s" if key.endswith("_s") else key.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return "" if value is None else str(value)
