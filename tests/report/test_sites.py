"""Which passes made which rewrite, and what was left alone."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from mlcnn.counting import CountReport, count_layer
from mlcnn.passes import Change, Skipped
from mlcnn.report import RunSummary
from mlcnn.report.sections.sites import sites
from mlcnn.report.sites import left_alone, places, preparations, rewrites
from mlcnn.report.terminal import terminal


def names(summary: RunSummary) -> list[str]:
    return [rewrite.name for rewrite in rewrites(summary)]


def test_each_fused_layer_comes_once_with_the_passes_that_led_there(summary: RunSummary):
    assert names(summary) == [
        "features.3", "features.10", "features.20", "features.30", "features.40"
    ]  # fmt: skip
    first = rewrites(summary)[0]
    steps = [(step.pass_name, step.exact) for step in first.steps]
    assert steps == [("max-to-average", False), ("reorder", False), ("fuse", True)]
    assert first.nodes == ("features.5", "features.6")
    assert not first.exact
    assert first.counts is not None
    assert first.counts.name == "features.3"


def test_a_module_called_twice_has_the_counts_of_the_call_that_was_fused(summary: RunSummary):
    fused = next(row for row in summary.counts.layers if row.fused)
    plain = count_layer(replace(fused.layer, pool=None))
    fuse = next(c for c in summary.changes if c.form and c.nodes[0] == fused.name)
    for calls in ((fused, plain), (plain, fused)):
        found = rewrites(
            replace(
                summary,
                changes=(fuse,),
                counts=CountReport(calls),
            )
        )
        assert [rewrite.counts for rewrite in found] == [fused]


def test_a_pool_moved_into_branches_belongs_to_all_of_them(summary: RunSummary):
    branches = ("b1", "b2")
    changes = (
        Change("distribute-pool", (*branches, "cat", "pool"), exact=True),
        *(Change("fuse", (name, f"{name}/AveragePool"), exact=True) for name in branches),
    )
    found = rewrites(replace(summary, changes=changes))
    assert [rewrite.name for rewrite in found] == ["b1", "b2"]
    assert all(
        [step.pass_name for step in rewrite.steps] == ["distribute-pool", "fuse"]
        for rewrite in found
    )
    assert all(rewrite.exact for rewrite in found)


def test_a_rewrite_that_rounds_elsewhere_is_exact_but_for_that(summary: RunSummary):
    """In the report and in the terminal; an approximate step outweighs it."""
    moved = Change("distribute-pool", ("conv", "norm", "pool"), exact=True)
    fused = Change("fuse", ("conv", "conv/AveragePool"), exact=True, form="box", deviation=0.01)
    quantised = replace(summary, changes=(moved, fused))
    (found,) = rewrites(quantised)
    assert found.kind == "exact but for rounding"
    assert [step.kind for step in found.steps] == ["exact", "exact but for rounding"]
    console = Console(width=80, file=StringIO())
    console.print(terminal(quantised))
    assert "exact but for rounding" in console.file.getvalue()
    assert [step[2] for step in sites(quantised).content.done[0].steps] == [
        "exact", "exact but for rounding",
    ]  # fmt: skip
    approximate = replace(summary, changes=(replace(moved, exact=False), fused))
    assert [rewrite.kind for rewrite in rewrites(approximate)] == ["approximate"]
    plain = replace(summary, changes=(moved, replace(fused, deviation=0.0)))
    assert [rewrite.kind for rewrite in rewrites(plain)] == ["exact"]


def test_a_change_that_joins_two_others_keeps_their_order(summary: RunSummary):
    changes = (
        Change("reorder", ("a",), exact=False),
        Change("distribute-pool", ("b",), exact=True),
        Change("fuse", ("a", "b"), exact=True),
    )
    (only,) = rewrites(replace(summary, changes=changes))
    assert [step.pass_name for step in only.steps] == ["reorder", "distribute-pool", "fuse"]


def test_tidying_is_no_site(summary: RunSummary):
    assert preparations(summary) == (("fold-batch-norm", 13),)


def test_one_reason_is_told_once(summary: RunSummary):
    skipped = (
        Skipped("reorder", "pool1", "its window is one element"),
        Skipped("fuse", "pool1", "its window is one element"),
        Skipped("fuse", "pool2", "it is a max pool"),
        Skipped("reorder", "pool3", "its window is one element"),
        Skipped("fuse", "pool3", "its window is one element"),
        Skipped("fold-batch-norm", "norm", "no convolution stands before it"),
    )
    summary = replace(summary, skipped=skipped)
    found = left_alone(summary)
    assert [(entry.passes, entry.nodes) for entry in found] == [
        (("reorder", "fuse"), ("pool1", "pool3")),
        (("fuse",), ("pool2",)),
    ]
    assert places(found) == 3
    assert [entry.nodes for entry in left_alone(summary, folding=True)] == [("norm",)]


@pytest.mark.parametrize("summary", ["untouched"], indirect=True)
def test_nothing_rewritten_is_no_rewrite(summary: RunSummary):
    assert rewrites(summary) == ()
