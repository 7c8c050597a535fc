"""Two networks node by node."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn.api.loading import Source
from mlcnn.api.netron import netron_command
from mlcnn.api.options import NO_REWRITE
from mlcnn.api.two_networks import as_they_are, named
from mlcnn.counting import CountReport
from mlcnn.counting import count as count_networks
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.report import (
    Differences,
    Page,
    compare_graphs,
    difference_page,
    difference_sentence,
    node_rows,
    uncounted_sentence,
)
from mlcnn.table import Shown, Tabular

__all__ = ["NetworkDiff", "diff", "diff_models"]


@dataclass(frozen=True, slots=True, repr=False)
class NetworkDiff(Tabular):
    """Two networks node by node: what went, what came, and what is another now.

    Attributes:
        names: of the first and the second.
        nodes: which node of one is which of the other.
        counts: what the layers of both take; None where that is not known.
        uncounted: why not, or what the counts leave out; else empty.
        files: the files that they came from.
    """

    names: tuple[str, str]
    nodes: Differences
    counts: CountReport | None
    uncounted: str = ""
    files: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether there is no difference: the same nodes, wiring and weights."""
        return self.nodes.equal

    @property
    def told(self) -> str:
        """How they differ, in one sentence."""
        return difference_sentence(self.nodes)

    def report(self) -> Page:
        """A page that draws both around each difference; it opens in a notebook's cell."""
        commands = tuple(map(netron_command, self.files))
        return difference_page(self.names, self.nodes, self.counts, self.uncounted, commands)

    def shown(self) -> Shown:
        """Every difference, a row each."""
        rows = tuple(row.cells for row in node_rows(self.nodes))
        title = f"{self.names[0]} and {self.names[1]}: {self.told}"
        return Shown(title, ("", "operator", "layer", "output", "what"), rows, self._notes)

    @property
    def _notes(self) -> tuple[str, ...]:
        return (f"not counted: {self.uncounted}",) if self.uncounted else ()

    def records(self) -> list[dict[str, Any]]:
        """A row for each difference."""
        return [
            {
                "status": str(row.status),
                "operator": row.operator,
                "name": row.name,
                "output": row.shape,
                "what": row.what,
            }
            for row in node_rows(self.nodes)
        ]

    def to_json(self) -> dict[str, Any]:
        """What ``mlcnn diff --json`` prints."""
        nodes = self.nodes
        return {
            "before": self.names[0],
            "after": self.names[1],
            "equal": self.equal,
            "nodes": {
                "kept": nodes.kept,
                "removed": len(nodes.removed),
                "added": len(nodes.added),
                "changed": len(nodes.changed),
            },
            "differences": self.records(),
            "count": None if self.counts is None else self.counts.to_json(),
            "uncounted": self.uncounted,
        }


def diff(
    before: Source,
    after: Source,
    *,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
) -> NetworkDiff:
    """Compare two networks node by node, as they are: no pass is applied to either.

    Nodes are each other's by their modules and weights, then by what stands beside them, by their
    names, and at last by their looks. As in every command, constants are folded first, and older
    operator sets converted.

    Args:
        before: see ``load``.
        after: see ``load``. What ``optimize`` returned is its rewritten network.
        input_shape: see ``load``; of both.
        weights: see ``load``; of ``after``.

    Raises:
        InputError: one of them cannot be loaded.

    Example:
        >>> import mlcnn
        >>> network = mlcnn.load("lenet5")
        >>> mlcnn.diff(network, network).told
        'no difference: 12 nodes of the same kind, wiring and weights'
    """
    second, first = as_they_are(after, before, NO_REWRITE, input_shape=input_shape, weights=weights)
    names = named(after, before)
    files = [
        str(s) for s in (before, after) if isinstance(s, str | os.PathLike) and Path(s).is_file()
    ]
    shape = None if input_shape is None else tuple(input_shape)
    return diff_models(first, second, (names[1], names[0]), tuple(files), input_shape=shape)


def diff_models(
    before: ir.Model,
    after: ir.Model,
    names: tuple[str, str] = ("original", "result"),
    files: tuple[str, ...] = (),
    *,
    input_shape: tuple[int, ...] | None = None,
) -> NetworkDiff:
    """Compare two loaded networks node by node.

    Args:
        before: the first.
        after: the second.
        names: of the two.
        files: where they came from.
        input_shape: for the counts.
    """
    nodes = compare_graphs(before, after)
    try:
        counts = count_networks(after, before, input_shape=input_shape, executed=True)
    except (InputError, UnsupportedError) as error:
        return NetworkDiff(names, nodes, None, f"operations are not counted: {error}", files)
    return NetworkDiff(names, nodes, counts, uncounted_sentence(counts.uncounted), files)
