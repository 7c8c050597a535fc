"""The summary in a terminal: 80 columns, no colour where it is piped, nothing to be steered by."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mlcnn.passes import Skipped
from mlcnn.report import ORIGINAL, RunSummary, terminal


def printed(summary: RunSummary, **options) -> str:
    console = Console(file=io.StringIO(), width=options.pop("width", 80), **options)
    console.print(terminal(summary))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("summary", ["vgg16", "densenet121", "untouched"], indirect=True)
def test_lines_fit_the_width(summary: RunSummary, width):
    text = printed(summary, width=width)
    assert max(map(len, text.splitlines())) <= width


def test_a_pipe_gets_no_colour(summary: RunSummary):
    assert "\x1b" not in printed(summary)
    assert "\x1b" in printed(summary, force_terminal=True, color_system="standard")


def test_what_matters_is_there(summary: RunSummary):
    text = printed(summary)
    for expected in (
        "5 layers rewritten", "-36.5 %", "4.4e-15", "features.30", "expanded", "-55.6 %",
        "5.10 ms", "1.46x", "the pool's window is one element", "the machine is busy",
        "torch-compile did not run", "-0.80 points",
    ):  # fmt: skip
        assert expected in " ".join(text.split())


def test_where_nothing_was_rewritten_there_is_no_speedup(summary: RunSummary):
    alone = tuple(row for row in summary.latencies if row.variant == ORIGINAL)
    assert "speed-up" in printed(replace(summary, evaluations=()))
    assert "speed-up" not in printed(replace(summary, latencies=alone, evaluations=()))


def test_our_words_are_ascii(summary: RunSummary):
    lines = [line for line in printed(summary).splitlines() if "─" not in line]
    assert "\n".join(lines).isascii()


def test_names_carry_neither_markup_nor_control_characters(summary: RunSummary):
    hostile = Skipped("fuse", "[bold red]a[/]\x1b]0;title\x07", "[link=x]why[/]\x1b[2J")
    text = printed(
        replace(summary, model_name="\x1b[31mnet", skipped=(hostile,)),
        force_terminal=True,
        color_system=None,
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    flat = " ".join(text.split())
    assert "[bold red]a[/]" in flat
    assert "[link=x]why[/]" in flat


@pytest.mark.parametrize("summary", ["densenet121"], indirect=True)
def test_long_lists_end_with_how_many_more(summary: RunSummary):
    skipped = tuple(Skipped("fuse", f"pool{index}", f"reason {index}") for index in range(30))
    assert "and 22 reasons more" in printed(replace(summary, skipped=skipped))
