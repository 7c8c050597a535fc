"""The summary of a run for the terminal: what matters, in 80 columns and without colour too.

Names from a network are put in as plain text: they carry neither markup nor control characters.
"""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlcnn.report.coded_layers import coded_layers
from mlcnn.report.headline import Mood, facts, potential_sentence, sentence
from mlcnn.report.recorded import record_sentences
from mlcnn.report.sites import left_alone, rewrites
from mlcnn.report.speed import (
    Speedup,
    Verdict,
    measured_variants,
    result_variant,
    settings,
    speedups,
)
from mlcnn.report.summary import RunSummary
from mlcnn.report.table import columns_table, warning
from mlcnn.report.wording import amount, duration, pass_names, plural, printable, ratio, removed

__all__ = ["terminal"]

_STYLES = {
    Mood.PLAIN: "bold",
    Mood.GOOD: "bold green",
    Mood.WARN: "bold yellow",
    Mood.BAD: "bold red",
    Mood.MISSING: "dim",
}
_MOST_SITES = 15
_MOST_REASONS = 8
_MOST_LAYERS = 40


def _facts(summary: RunSummary) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for fact in facts(summary):
        note = Text(fact.note, style="dim")
        if fact.title == "Multiplications" and fact.lines:
            note.append(f"; additions {fact.lines[0].value}")
        grid.add_row(Text(fact.title), Text(fact.value, style=_STYLES[fact.mood]), note)
    return grid


def _recorded(summary: RunSummary) -> RenderableType | None:
    if summary.tested is None:
        return None
    return Text("\n".join(record_sentences(summary.tested, summary.accuracy)))


def _sites(summary: RunSummary) -> RenderableType | None:
    done = rewrites(summary)
    if not done:
        return None
    table = columns_table(
        ("layer", False), ("form", False), ("", False), ("multiplications", True), ("", True)
    )
    for rewrite in done[:_MOST_SITES]:
        amounts = change = ""
        if rewrite.counts is not None:
            before = rewrite.counts.multiplications.original
            after = rewrite.counts.chosen.multiplications
            amounts, change = f"{amount(before)} to {amount(after)}", removed(before, after)
        kind = Text(rewrite.kind, "green" if rewrite.exact else "yellow")
        table.add_row(Text(printable(rewrite.name)), rewrite.form or "", kind, amounts, change)
    if len(done) > _MOST_SITES:
        table.add_row(f"and {plural(len(done) - _MOST_SITES, 'layer')} more", "", "", "", "")
    return table


def _left(summary: RunSummary) -> RenderableType | None:
    left = left_alone(summary)
    if not left:
        return None
    table = columns_table(("left alone", False), ("passes", False), ("why", False))
    for entry in left[:_MOST_REASONS]:
        where = printable(entry.nodes[0])
        if len(entry.nodes) > 1:
            where += f" and {len(entry.nodes) - 1} more"
        table.add_row(Text(where), ", ".join(entry.passes), Text(printable(entry.reason)))
    if len(left) > _MOST_REASONS:
        table.add_row(f"and {plural(len(left) - _MOST_REASONS, 'reason')} more", "", "")
    return table


def _gain(found: Speedup | None) -> Text:
    if found is None:
        return Text("")
    noise = found.verdict is Verdict.WITHIN_NOISE
    style = {Verdict.FASTER: "green", Verdict.SLOWER: "red"}.get(found.verdict, "yellow")
    return Text(ratio(found.value) + (" (noise)" if noise else ""), style=style)


def _latency(summary: RunSummary) -> RenderableType | None:
    if not summary.latencies:
        return None
    measured = measured_variants(summary)
    table = columns_table(
        ("engine", False),
        ("precision", False),
        ("batch", True),
        ("threads", True),
        *((variant, True) for variant in measured),
    )
    gains = {(g.engine, g.batch, g.threads): g for g in speedups(summary, variant=measured[-1])}
    if gains:
        table.add_column("speed-up", justify="right", no_wrap=True)
    for setting in settings(summary):
        rows = {(row.engine, row.variant): row for row in setting.rows}
        for engine in dict.fromkeys(row.engine for row in setting.rows):
            cells = [rows.get((engine, variant)) for variant in measured]
            table.add_row(
                Text(printable(engine)),
                next(cell.precision for cell in cells if cell is not None),
                str(setting.batch),
                str(setting.threads),
                *("" if cell is None else duration(cell.median_ms) for cell in cells),
                *([_gain(gains.get((engine, setting.batch, setting.threads)))] if gains else ()),
            )
    return table


def _coded(summary: RunSummary) -> RenderableType | None:
    result = result_variant(summary)
    tables = [
        coded_layers(f"{row.engine}, batch {row.batch}", row.algorithms, _MOST_LAYERS)
        for row in summary.latencies
        if row.variant == result
    ]
    found = [part for table in tables if table is not None for part in (Text(), table)]
    return Group(*found[1:]) if found else None


def _accelerators(summary: RunSummary) -> RenderableType | None:
    """One line for what they are compared with, one for what they gain."""
    if not summary.evaluations:
        return None
    first = summary.evaluations[0]
    compared = (
        f"speed-up over {first.against.name} on accelerators, {plural(first.batch, 'image')}, "
        f"{first.technology.name}: "
    )
    gains: list[str] = []
    for found in summary.evaluations:
        part = (
            ""
            if found.rewritten is None
            else f"{ratio(found.rewritten.speedup)} on rewritten layers (mean), "
        )
        whole = f"{ratio(found.network.total_speedup)} on the whole network"
        equal = found.own_precision
        if equal is not None:
            gain = ratio(equal.network.total_speedup)
            whole += f" ({gain} at equal precision, over {equal.against.name})"
        gains.append(f"{found.accelerator.name} {part}{whole}")
    return Text.assemble((printable(compared), "dim"), printable("; ".join(gains)))


def _remarks(summary: RunSummary) -> list[RenderableType]:
    remarks = [*summary.warnings, *summary.noise]
    remarks += [f"{gone.engine} did not run: {gone.reason}" for gone in summary.unavailable]
    lines: list[RenderableType] = [warning(printable(remark)) for remark in remarks]
    potential = potential_sentence(summary)
    return [*lines, Text(potential)] if potential else lines


def terminal(summary: RunSummary) -> RenderableType:
    """The summary of a run.

    Args:
        summary: the result of the run.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    heading = Text.assemble(
        (printable(summary.model_name), "bold"),
        "  ",
        (pass_names(printable(summary.pipeline)), "dim"),
    )
    parts: list[RenderableType] = [heading, Text(sentence(summary)), Text(), _facts(summary)]
    blocks = (_recorded, _sites, _left, _latency, _coded, _accelerators)
    for block in (make(summary) for make in blocks):
        if block is not None:
            parts += [Text(), block]
    remarks = _remarks(summary)
    if remarks:
        parts += [Text(), *remarks]
    return Group(*parts)
