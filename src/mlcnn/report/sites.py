"""The sites of a network: which were rewritten, how, and which were left alone, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlcnn.counting import LayerCount, Operations
from mlcnn.passes import Change
from mlcnn.report.summary import RunSummary

__all__ = ["LeftAlone", "Rewrite", "Step", "left_alone", "places", "preparations", "rewrites"]

# These tidy the network up; what they touch is no site.
_FOLDING = frozenset({"fold-constants", "fold-batch-norm"})


@dataclass(frozen=True, slots=True)
class Step:
    """One pass that took part in a rewrite.

    Attributes:
        pass_name: its name.
        exact: whether it keeps the output.
        rounded: whether what it made rounds elsewhere: exact but for that.
    """

    pass_name: str
    exact: bool
    rounded: bool = False

    @property
    def kind(self) -> str:
        """How exact it is, in words."""
        return _kind(self.exact, rounded=self.rounded)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One rewritten layer, or group of nodes where no layer was fused.

    Attributes:
        name: the fused layer, or the first of the nodes.
        nodes: the other nodes that the rewrite replaced.
        steps: the passes that led here, in order.
        form: the form chosen, if there was a choice.
        reason: why this form.
        counts: the layer's counts, if it was counted.
    """

    name: str
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    form: str | None
    reason: str
    counts: LayerCount | None

    @property
    def exact(self) -> bool:
        """Whether every step keeps the output."""
        return all(step.exact for step in self.steps)

    @property
    def kind(self) -> str:
        """How exact all steps are together, in words."""
        return _kind(self.exact, rounded=any(step.rounded for step in self.steps))


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Places that were left alone for one reason, and the passes that would have taken them."""

    passes: tuple[str, ...]
    reason: str
    nodes: tuple[str, ...]


def _kind(exact: bool, *, rounded: bool) -> str:
    return ("exact but for rounding" if rounded else "exact") if exact else "approximate"


def _connected(changes: Iterable[Change]) -> list[list[Change]]:
    """Changes that share nodes, directly or through others, each group in the order given."""
    given = list(changes)
    groups: list[tuple[set[str], list[int]]] = []
    for index, change in enumerate(given):
        nodes, members = set(change.nodes), [index]
        touching = [group for group in groups if group[0] & nodes]
        groups = [group for group in groups if not group[0] & nodes]
        for other_nodes, other_members in touching:
            nodes |= other_nodes
            members += other_members
        groups.append((nodes, members))
    return [[given[index] for index in sorted(members)] for _, members in groups]


def _counts_of(name: str, form: str | None, counts: Sequence[LayerCount]) -> LayerCount | None:
    """The row of a rewritten layer; a module that is called twice has two of its name.

    A pass that leaves no record may put layers of other names in its place, or beside it.
    """
    named = [row for row in counts if row.name == name]
    same = [row for row in named if row.form == form]
    row = next(iter(same or named), None)
    if row is None:
        return None
    parts = (f"{name}/", f"{name}.")
    new = [r.chosen for r in counts if r.before == Operations() and r.name.startswith(parts)]
    took = sum(new, row.chosen)
    # Where nothing is left of its name, nor named after it, what stands there now is not known.
    return None if took == Operations() else replace(row, chosen=took)


def _rewrites_of(group: list[Change], counts: Sequence[LayerCount]) -> list[Rewrite]:
    last = group[-1].pass_name
    rounded = {change.pass_name for change in group if change.deviation > 0}
    steps = {c.pass_name: Step(c.pass_name, c.exact, c.pass_name in rounded) for c in group}
    found: list[Rewrite] = []
    for change in group:
        if change.pass_name != last:
            continue
        name = change.nodes[0]
        others = tuple(node for node in change.nodes if node != name)
        passes, row = tuple(steps.values()), _counts_of(name, change.form, counts)
        found.append(Rewrite(name, others, passes, change.form, change.reason, row))
    return found


def rewrites(summary: RunSummary) -> tuple[Rewrite, ...]:
    """Every rewritten layer once, with all passes that took part, in the network's order."""
    counts = summary.counts.layers
    order = {layer.name: index for index, layer in enumerate(counts)}
    groups = _connected(c for c in summary.changes if c.pass_name not in _FOLDING)
    found = [rewrite for group in groups for rewrite in _rewrites_of(group, counts)]
    return tuple(sorted(found, key=lambda rewrite: order.get(rewrite.name, len(order))))


def left_alone(summary: RunSummary, *, folding: bool = False) -> tuple[LeftAlone, ...]:
    """What was left alone: one entry per reason and passes, in order of first appearance.

    Args:
        summary: the result of the run.
        folding: what the tidying passes left, instead of sites.
    """
    passes: dict[tuple[str, str], list[str]] = {}
    for skipped in summary.skipped:
        if (skipped.pass_name in _FOLDING) is folding:
            passes.setdefault((skipped.node, skipped.reason), []).append(skipped.pass_name)
    nodes: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (node, reason), names in passes.items():
        nodes.setdefault((reason, tuple(dict.fromkeys(names))), []).append(node)
    return tuple(LeftAlone(names, reason, tuple(found)) for (reason, names), found in nodes.items())


def places(entries: Iterable[LeftAlone]) -> int:
    """Number of different places in ``entries``: one may be left for several reasons."""
    return len({node for entry in entries for node in entry.nodes})


def preparations(summary: RunSummary) -> tuple[tuple[str, int], ...]:
    """How many places each of the tidying passes changed."""
    counted: dict[str, int] = {}
    for change in summary.changes:
        if change.pass_name in _FOLDING:
            counted[change.pass_name] = counted.get(change.pass_name, 0) + 1
    return tuple(counted.items())
