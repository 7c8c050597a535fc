"""The network's sites: what was done, or why not."""

from dataclasses import dataclass

from mlcnn.report.headline import potential_sentence
from mlcnn.report.sections.section import Section
from mlcnn.report.sites import LeftAlone, Rewrite, left_alone, places, preparations, rewrites
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, plural, printable, removed

__all__ = ["sites"]


@dataclass(frozen=True, slots=True)
class Done:
    """One rewritten layer, in words."""

    name: str
    others: tuple[str, ...]
    steps: tuple[tuple[str, bool, str], ...]
    form: str
    reason: str
    exact: bool
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class Left:
    """Places left alone for one reason, in words."""

    nodes: tuple[str, ...]
    passes: str
    reason: str


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        done: the rewritten layers.
        left: the places left alone.
        left_places: how many places that is.
        preparations: the tidying passes, with numbers of places.
        unprepared: what those left as it is.
        unprepared_places: how many places that is.
        potential: what fine-tuning would add, in one sentence, or empty.
    """

    done: tuple[Done, ...]
    left: tuple[Left, ...]
    left_places: str
    preparations: tuple[tuple[str, str], ...]
    unprepared: tuple[Left, ...]
    unprepared_places: str
    potential: str


def _done(rewrite: Rewrite) -> Done:
    before = after = change = ""
    if rewrite.counts is not None:
        old, new = rewrite.counts.multiplications.original, rewrite.counts.chosen.multiplications
        before, after, change = amount(old), amount(new), removed(old, new)
    return Done(
        printable(rewrite.name),
        tuple(map(printable, rewrite.nodes)),
        tuple((step.pass_name, step.exact, step.kind) for step in rewrite.steps),
        rewrite.form or "",
        printable(rewrite.reason),
        rewrite.exact,
        before,
        after,
        change,
    )


def _left(entries: tuple[LeftAlone, ...]) -> tuple[Left, ...]:
    return tuple(
        Left(tuple(map(printable, e.nodes)), ", ".join(e.passes), printable(e.reason))
        for e in entries
    )


def sites(summary: RunSummary) -> Section:
    """The section."""
    left, unprepared = left_alone(summary), left_alone(summary, folding=True)
    content = Content(
        tuple(map(_done, rewrites(summary))),
        _left(left),
        plural(places(left), "place"),
        tuple((name, plural(number, "place")) for name, number in preparations(summary)),
        _left(unprepared),
        plural(places(unprepared), "place"),
        potential_sentence(summary),
    )
    return Section("sites", "Sites", "sites.html", content)
