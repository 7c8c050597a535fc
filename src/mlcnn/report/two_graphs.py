"""Two networks node by node: in one sentence, as rows, as a page and for the terminal."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from mlcnn.counting import CountReport
from mlcnn.report.drawing import Differences, Neighbourhood, Node, Status, neighbourhoods, whole
from mlcnn.report.page import Page, page
from mlcnn.report.sections.operations import operations
from mlcnn.report.sections.places import places_section
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.table import columns_table, warning
from mlcnn.report.wording import amount, per, plural, printable, removed

__all__ = ["NodeRow", "difference_page", "difference_sentence", "difference_tables", "node_rows"]

_DRAWN_WHOLE = 40
"""Nodes of both networks together that are drawn from end to end; of more, where they differ."""

_SIGNS = {Status.REMOVED: "-", Status.ADDED: "+", Status.CHANGED: "~"}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One difference.

    Attributes:
        status: what became of the node.
        operator: its type.
        name: of its layer.
        shape: sizes of what it gives, in the second network unless it is in the first alone.
        what: kernel, stride and the like, or what differs.
    """

    status: Status
    operator: str
    name: str
    shape: str
    what: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As cells of a table, names as they came."""
        return _SIGNS[self.status], self.operator, self.name, self.shape, self.what


@dataclass(frozen=True, slots=True)
class Content:
    """What the page's first section shows."""

    sentence: str
    facts: tuple[tuple[str, str], ...]
    uncounted: str
    commands: tuple[str, ...]


def difference_sentence(differences: Differences) -> str:
    """How two networks differ, in one sentence.

    Args:
        differences: the two.
    """
    kept = differences.kept
    if differences.equal:
        return f"no difference: {plural(kept, 'node')} of the same kind, wiring and weights"
    counts = (
        (len(differences.removed), "went"),
        (len(differences.added), "came"),
        (len(differences.changed), "changed"),
    )
    parts = [f"{plural(n, 'node')} {word}" for n, word in counts if n]
    if not kept:
        return f"nothing in common: {', '.join(parts)}, and none is the same in both"
    return f"{', '.join(parts)}; {plural(kept, 'node')} the same"


def node_rows(differences: Differences) -> tuple[NodeRow, ...]:
    """Every difference, place by place; nodes that only have other weights come last.

    Args:
        differences: the two networks.
    """
    changed = {("both", one.before.index): one for one in differences.changed}
    rows: list[NodeRow] = []
    for place in differences.places():
        for network, index in sorted(place, key=lambda one: (one[0] == "after", one[1])):
            if network == "both":
                change = changed[network, index]
                rows.append(_row(Status.CHANGED, change.after, change.told()))
            elif network == "before":
                rows.append(_row(Status.REMOVED, differences.before[index]))
            else:
                rows.append(_row(Status.ADDED, differences.after[index]))
    only = (one for one in differences.changed if one.only_weights)
    return (*rows, *(_row(Status.CHANGED, one.after, one.told()) for one in only))


def _row(status: Status, node: Node, what: str | None = None) -> NodeRow:
    return NodeRow(
        status, node.operator, node.name, node.shape, node.detail if what is None else what
    )


def _totals(counts: CountReport) -> tuple[tuple[str, int, int], ...]:
    parameters = [sum(row.stored[side].parameters for row in counts.layers) for side in (0, 1)]
    before, after, images = counts.before, counts.after, per(counts.images)
    return (
        (f"multiplications {images}", before.multiplications, after.multiplications),
        (f"additions {images}", before.additions, after.additions),
        ("parameters", parameters[0], parameters[1]),
    )


def _counted(counts: CountReport | None) -> tuple[tuple[str, str], ...]:
    if counts is None or not counts.layers:
        return ()
    return tuple(
        (noun, f"{amount(old)} to {amount(new)}, {removed(old, new) or 'new'}")
        for noun, old, new in _totals(counts)
    )


def drawn_places(differences: Differences) -> tuple[Neighbourhood, ...]:
    """What is drawn of two networks: all of small ones, of others where they differ."""
    if differences.equal:
        return ()
    if len(differences.before) + len(differences.after) <= _DRAWN_WHOLE:
        return (whole(differences),)
    return neighbourhoods(differences)


def difference_page(
    names: tuple[str, str],
    differences: Differences,
    counts: CountReport | None,
    uncounted: str = "",
    commands: tuple[str, ...] = (),
) -> Page:
    """The page of two networks.

    Args:
        names: of the first and the second.
        differences: the two.
        counts: what they take; None where that is not known.
        uncounted: why not, or what the counts leave out.
        commands: that open the two files in a viewer.
    """
    title = f"{names[0]} and {names[1]}"
    content = Content(
        difference_sentence(differences),
        _counted(counts),
        printable(uncounted),
        tuple(map(printable, commands)),
    )
    counted = None
    if counts is not None and counts.changed:
        counted = operations(RunSummary(title, "", "", "", 0, counts=counts))
    rows = tuple(tuple(map(printable, row.cells)) for row in node_rows(differences))
    sections = (
        Section("summary", "Summary", "difference.html", content),
        places_section(drawn_places(differences), "Before and after, drawn"),
        Section("nodes", "Every difference", "difference_nodes.html", rows) if rows else None,
        counted,
    )
    return Page(page(title, "", [section for section in sections if section is not None]))


def difference_tables(
    names: tuple[str, str],
    differences: Differences,
    counts: CountReport | None,
    uncounted: str = "",
) -> RenderableType:
    """The same for the terminal.

    Args:
        names: of the first and the second.
        differences: the two.
        counts: what they take; None where that is not known.
        uncounted: why not, or what the counts leave out.
    """
    heading = Text.assemble(
        (printable(names[0]), "bold"), " and ", (printable(names[1]), "bold"),
        f": {difference_sentence(differences)}",
    )  # fmt: skip
    parts: list[RenderableType] = [heading]
    if not differences.equal:
        table = columns_table(
            ("", False), ("operator", False), ("layer", False), ("output", False), ("", False)
        )
        for row in node_rows(differences):
            table.add_row(*(Text(printable(cell)) for cell in row.cells))
        parts += [Text(), table]
    if counted := _counted(counts):
        parts += [Text(), *(Text(f"{noun}: {told}") for noun, told in counted)]
    if uncounted:
        parts.append(warning(printable(uncounted)))
    return Group(*parts)
