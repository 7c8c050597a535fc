"""The section about accelerators: its charts hold the models' figures, its tables the same."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from mlcnn.accelerators import Evaluation, compare, load_accelerator
from mlcnn.report import RunSummary, evaluation_tables, render, terminal
from mlcnn.report.charts import accelerator_charts
from mlcnn.report.sections.accelerator import accelerator


def rows_of(chart, column: str) -> list[dict]:
    """The chart's rows that have ``column``."""
    return [
        row
        for rows in chart.specification["datasets"].values()
        for row in rows
        if column in row and "kind" in row
    ]


def fused(found) -> list:
    return [row for row in found.layers if row.fused]


def test_every_fused_layer_has_a_bar_of_its_speedup_on_every_machine(summary: RunSummary):
    speed, _, _ = accelerator_charts(summary)
    assert [(row["kind"], row["layer"], row["value"]) for row in rows_of(speed, "value")] == [
        (found.accelerator.name, row.name, row.speedup)
        for found in summary.evaluations
        for row in fused(found)
    ]
    assert [item.meaning for item in speed.legend] == ["mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"]


def test_a_pool_of_four_removes_three_quarters_of_the_multiplications(summary: RunSummary):
    _, operations, _ = accelerator_charts(summary)
    rows = rows_of(operations, "value")
    multiplications = [row for row in rows if row["kind"] == "multiplications"]
    assert [row["value"] for row in multiplications] == [0.75] * 5
    for row in rows:
        if row["kind"] == "additions":
            # Box sums shared by all filters leave fewer additions than the paper's count.
            assert 0 < row["paper"] < row["value"] < 0.75


def test_energies_stack_up_to_the_share_of_the_baseline(summary: RunSummary):
    _, _, energy = accelerator_charts(summary)
    rows = rows_of(energy, "part")
    for found in summary.evaluations:
        for layer in fused(found):
            for name, share in (
                (found.accelerator.name, 1 / layer.energy_ratio),
                ("dcnn-fp32", 1.0),
            ):
                stack = [r for r in rows if (r["kind"], r["layer"]) == (name, layer.name)]
                assert [row["part"] for row in stack] == ["DRAM", "buffer", "MAC", "static"]
                assert [row["start"] for row in stack] == [0.0, *(r["end"] for r in stack[:-1])]
                assert stack[-1]["end"] == pytest.approx(share)
    names = list(dict.fromkeys(row["kind"] for row in rows))
    assert names == ["dcnn-fp32", "mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"]


def test_the_mean_of_the_fused_layers_stands_beside_the_network(summary: RunSummary):
    section = accelerator(summary)
    assert section is not None
    baseline, *machines = section.content.machines
    assert (baseline.name, baseline.fused, baseline.network) == ("dcnn-fp32", None, None)
    for row, found in zip(machines, summary.evaluations, strict=True):
        assert row.fused.speed == ratio_text(found.rewritten.speedup)
        assert row.network.speed == ratio_text(found.network.total_speedup)
        assert row.network.energy == ratio_text(found.network.total_energy_ratio)
        assert row.worst.note == found.network.worst
    text = re.sub(r"<[^>]+>", "", render(summary))
    assert "horowitz-45nm+cacti-45nm-lop+hbm2" in text
    assert "5 of 14 layers are fused with a pool" in text


def test_machines_of_the_same_name_stay_apart(summary: RunSummary):
    first = summary.evaluations[0]
    speed, _, energy = accelerator_charts(replace(summary, evaluations=(first, first)))
    assert [item.meaning for item in speed.legend] == ["mlcnn-fp32", "mlcnn-fp32 (2)"]
    assert len({row["kind"] for row in rows_of(energy, "part")}) == 3


@pytest.mark.parametrize("summary", ["untouched"], indirect=True)
def test_without_fused_layers_there_is_a_table_and_no_chart(summary: RunSummary):
    section = accelerator(summary)
    assert section is not None
    assert section.charts == ()
    assert section.content.rows == ()
    assert "No layer is fused with a pool" in render(summary)
    assert "Mean of rewritten layers" not in render(summary)


def test_without_an_evaluation_there_is_no_section(summary: RunSummary):
    assert accelerator(replace(summary, evaluations=())) is None
    assert accelerator_charts(replace(summary, evaluations=())) == ()


def test_the_terminal_tells_fused_layers_and_network_together(summary: RunSummary):
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal(summary))
    text = " ".join(console.file.getvalue().split())
    assert (
        "speed-up over dcnn-fp32 on accelerators, 16 images, horowitz-45nm+cacti-45nm-lop+hbm2"
        in text
    )
    for found in summary.evaluations:
        assert (
            f"{found.accelerator.name} {ratio_text(found.rewritten.speedup)} on rewritten layers "
            f"(mean), {ratio_text(found.network.total_speedup)} on the whole network"
        ) in text
        precision = found.accelerator.name.rpartition("-")[2]
        if precision != "fp32":
            equal = (
                f"({expected_equal(found, precision)} at equal precision, over dcnn-{precision})"
            )
            assert equal in text
            assert f"over dcnn-{precision}" in render(summary)


def test_names_steer_no_terminal(summary: RunSummary):
    found = summary.evaluations[0]
    first, *others = found.layers
    nest = replace(first.task.nest, name="[bold red]a[/]\x1b]0;title\x07")
    first = replace(first, task=first.task.with_nest(nest))
    machine = replace(found.accelerator, name="\x1b[31m[bold]machine[/]")
    hostile = replace(found, accelerator=machine, layers=(first, *others))
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(evaluation_tables(hostile, "\x1b[2Jnet"))
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold red]a[/]" in text
    assert "Operations on \N{REPLACEMENT CHARACTER}[31m[bold]machine[/], beside" in text


def ratio_text(value: float) -> str:
    return f"{value:.2f}x" if value < 9.995 else f"{value:.1f}x"


def expected_equal(found: Evaluation, precision: str) -> str:
    """The ratio of the network's cycles on the dense machine and on this one, both at 1 GHz."""
    dense = compare(
        [row.task for row in found.layers],
        load_accelerator(f"dcnn-{precision}"),
        found.accelerator,
        found.technology,
        batch=found.batch,
    )
    return ratio_text(
        sum(r.cost.cycles for r in dense.layers) / sum(r.against.cycles for r in dense.layers)
    )


@pytest.mark.parametrize("summary", ["untouched"], indirect=True)
def test_where_nothing_is_fused_only_the_bits_gain(summary: RunSummary):
    console = Console(file=io.StringIO(), width=200)
    for found in summary.evaluations[1:]:
        equal = found.to_json()["equal_precision"]
        # Two small layers: what they wait for is DRAM, more than multipliers.
        assert found.network.total_speedup > 1
        assert found.network.total_energy_ratio > found.network.total_speedup
        assert equal["against"] == found.accelerator.name.replace("mlcnn", "dcnn")
        assert equal["network"]["speedup"] == pytest.approx(1, abs=0.1)
        console.print(evaluation_tables(found, "plain"))
        assert f"whole network, {equal['against']}, time" in console.file.getvalue()
    own = summary.evaluations[0].to_json()
    assert own["equal_precision"]["against"] == "dcnn-fp32"
    assert own["equal_precision"]["network"]["speedup"] == own["network"]["speedup"]
