"""The network's sites: what was done, or why not."""

from dataclasses import dataclass

from mlcnn.report.sections.section import Section
from mlcnn.report.sites import LeftAlone, Rewrite, left_alone, preparations, rewrites
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, plural, printable, removed

__all__ = ["sites"]


@dataclass(frozen=True, slots=True)
class Done:
    """One rewritten layer, in words."""

    name: str
    others: tuple[str, ...]
    steps: tuple[tuple[str, bool], ...]
    form: str
    exact: bool
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class Left:
    """Places left alone for one reason, in words."""

    nodes: tuple[str, ...]
    pass_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        done: the rewritten layers.
        left: the places left alone.
        left_places: how many places that is.
        preparations: the tidying passes, with numbers of places.
        potential: what fine-tuning would add, in one sentence, or empty.
    """

    done: tuple[Done, ...]
    left: tuple[Left, ...]
    left_places: str
    preparations: tuple[tuple[str, str], ...]
    potential: str


def _done(rewrite: Rewrite) -> Done:
    before = after = change = ""
    if rewrite.counts is not None:
        old, new = rewrite.counts.multiplications.original, rewrite.counts.chosen.multiplications
        before, after, change = amount(old), amount(new), removed(old, new)
    return Done(
        printable(rewrite.name),
        tuple(map(printable, rewrite.nodes)),
        tuple((step.pass_name, step.exact) for step in rewrite.steps),
        rewrite.form or "",
        rewrite.exact,
        before,
        after,
        change,
    )


def _left(places: LeftAlone) -> Left:
    return Left(tuple(map(printable, places.nodes)), places.pass_name, places.reason)


def potential_sentence(summary: RunSummary) -> str:
    """What the approximate passes would add, or nothing."""
    potential = summary.potential
    if potential is None or potential.sites == 0:
        return ""
    before = summary.after.multiplications
    return (
        f"With fine-tuning, the approximate passes could fuse {plural(potential.sites, 'layer')} "
        f"more and remove {amount(potential.multiplications)} further multiplications"
        + (f" ({removed(before, before - potential.multiplications)})." if before else ".")
    )


def sites(summary: RunSummary) -> Section:
    """The section."""
    left = tuple(map(_left, left_alone(summary)))
    content = Content(
        tuple(map(_done, rewrites(summary))),
        left,
        plural(sum(len(entry.nodes) for entry in left), "place"),
        tuple((name, plural(places, "place")) for name, places in preparations(summary)),
        potential_sentence(summary),
    )
    return Section("sites", "Sites", "sites.html", content)
