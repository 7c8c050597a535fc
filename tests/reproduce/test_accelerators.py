"""Table VII and Figures 13 to 15: what the paper prints, and what stands beside it."""

import json
import math
from statistics import fmean, geometric_mean

import pytest

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, load_accelerator, load_technology
from mlcnn.accelerators.array import area
from mlcnn.reproduce import Relation, reproduce

# Table VII, one column a machine; sections VII.B and VII.D, FP32, FP16, INT8.
TABLE_VII = {
    "MAC slices": (32, 32, 64, 128),
    "bitwidth": (32, 32, 16, 8),
    "area, mm2": (1.52, 1.52, 1.52, 1.52),
    "on-chip memory, kB": (134, 134, 134, 134),
}
COLUMNS = ("DCNN FP32", "MLCNN FP32", "MLCNN FP16", "MLCNN INT8")
FIGURES = {
    "figure-13": ((3.2, 6.2, 12.8), (9.63, 19.2, 42.3)),
    "figure-15": ((2.9, 5.9, 11.3), (9.0, 17.5, 33.6)),
}
# Largest whole-network gains of fewer multiplications (SPEC 1.5, by hand).
LIMITS = {"lenet5": 4.00, "vgg16": 1.62, "googlenet": 1.50, "densenet_cifar": 1.09}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return reproduce(request.param)


def _table(result, start):
    (found,) = [one for one in result.beside if one.title.startswith(start)]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_table_7_as_printed():
    rows = {row.item: row for row in reproduce("table-7").rows}
    assert {item: row.published for item, row in rows.items()} == {
        f"{column}: {quantity}": value
        for quantity, values in TABLE_VII.items()
        for column, value in zip(COLUMNS, values, strict=True)
    }
    assert {row.relation for row in rows.values()} == {Relation.EQUAL}
    for quantity in ("MAC slices", "bitwidth"):
        assert all(rows[f"{column}: {quantity}"].ok for column in COLUMNS)
    assert rows["DCNN FP32: on-chip memory, kB"].ok


def test_table_7_areas_are_real_and_say_why_they_differ():
    """256 FP32 multipliers of 7700 um2 and adders of 4184 um2 take more than twice the area."""
    technology = load_technology()
    rows = {row.item: row for row in reproduce("table-7").rows}
    for column, name in zip(COLUMNS, ("dcnn", "mlcnn", "mlcnn", "mlcnn"), strict=True):
        row = rows[f"{column}: area, mm2"]
        machine = load_accelerator(f"{name}-{column.split()[1].lower()}")
        assert row.computed == pytest.approx(area(machine, technology).total / 1e6)
        assert row.difference
    assert round(256 * (7700 + 4184) / 1e6, 2) == 3.04
    assert round(512 * (1640 + 1360) / 1e6, 2) == 1.54
    assert "3.04 mm2" in rows["MLCNN FP32: area, mm2"].difference
    assert "1.54 mm2" in rows["MLCNN FP16: area, mm2"].difference


def test_table_7_has_a_labelled_variant_of_its_area():
    rows = _table(reproduce("table-7"), "variant: as many slices as fill 1.52 mm2")
    assert [row["accelerator"].rsplit("-", 2)[0] for row in rows] == [
        "mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8",
    ]  # fmt: skip
    assert all(1.4 < row["area, mm2"] <= 1.52 for row in rows)


def test_mlcnn_takes_no_more_area_than_the_machine_it_is_compared_with():
    rows = {row["accelerator"]: row for row in _table(reproduce("table-7"), "machines")}
    for precision in ("fp32", "fp16", "int8"):
        assert rows[f"mlcnn-{precision}"]["area, mm2"] <= rows[f"dcnn-{precision}"]["area, mm2"]
        assert rows[f"mlcnn-{precision}"]["memory, kB"] <= 134


def test_figures_as_printed(figure):
    means, c9 = FIGURES[figure.what]
    assert [row.published for row in figure.rows] == [*means, *c9]
    assert {row.relation for row in figure.rows} == {Relation.AT_LEAST}
    assert {(row.tolerance, row.difference) for row in figure.rows} == {(0, "")}
    assert figure.conditions == f"batch 16, 64 DRAM bytes a cycle, {DEFAULT_TECHNOLOGY}"


def test_figures_are_those_of_every_layer(figure):
    """Means, worst layer and C9 follow from the table of layers beside them."""
    quantity = {"figure-13": "speed-up", "figure-15": "energy ratio"}[figure.what]
    layers = _table(figure, f"{quantity} of every fused layer over dcnn-fp32; batch 16,")
    summaries = _table(figure, f"{quantity} over all fused layers")
    assert len(layers) == 22
    names = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
    for index, name in enumerate(names):
        ratios = {row["layer"]: row[name] for row in layers}
        assert figure.rows[index].computed == pytest.approx(fmean(ratios.values()))
        assert figure.rows[index + 3].computed == ratios["googlenet b5.b1.0"]
        (summary,) = [
            row
            for row in summaries
            if (row["accelerator"], row["against"], row["batch"]) == (name, "dcnn-fp32", 16)
        ]
        assert summary["mean"] == pytest.approx(fmean(ratios.values()))
        assert summary["geometric"] == pytest.approx(geometric_mean(ratios.values()))
        assert summary["worst"] == min(ratios.values()) == ratios[summary["worst layer"]]
        assert min(ratios.values()) <= summary["total"] <= max(ratios.values())


def test_figures_stand_beside_both_batches_and_every_machine(figure):
    summaries = next(one for one in figure.beside if " over all fused layers" in one.title)
    pairs = {(row[0], row[1], row[2]) for row in summaries.rows}
    names = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
    others = ("dcnn-fp32", "winograd-f2-fp32", "winograd-f4-fp32")
    assert pairs == {
        (name, other, batch) for name in names for other in others for batch in (16, 1)
    }
    dense = [row for row in summaries.rows if row[1] == "dcnn-fp32"]
    assert all(row[6] >= 1.0 for row in dense)  # no layer is worse than on the dense machine
    for one in figure.beside:
        assert "64 DRAM bytes a cycle" in one.title
        assert DEFAULT_TECHNOLOGY in one.title


def test_whole_networks_stand_under_their_limits():
    figure = reproduce("figure-13")
    limit, *rows = _table(figure, "ratio of total time of whole networks")
    for network, value in LIMITS.items():
        assert limit[network] == pytest.approx(value, abs=0.005)
        (own,) = [
            row[network]
            for row in rows
            if (row["accelerator"], row["against"]) == ("mlcnn-fp32", "dcnn-fp32")
        ]
        assert own <= limit[network]


def test_figure_14_as_printed():
    rows = {row.item: row for row in reproduce("figure-14").rows}
    saved = "multiplications saved, %"
    three = [f"LeNet-5 C{i}" for i in (1, 2)] + [f"VGG-16 C{i}" for i in range(1, 6)]
    three += [f"DenseNet C{i}" for i in (1, 2, 3)]
    for layer in three:
        row = rows[f"{layer}: {saved}"]
        assert (row.published, row.computed, row.tolerance) == (75, 75, 0)
    for layer in (9, 10, 11, 12):
        row = rows[f"GoogLeNet C{layer}: {saved}"]
        assert (row.published, row.computed, row.tolerance) == (98, 100 * 63 / 64, 0.5)
    nothing = [row for row in rows.values() if row.published == 0]
    assert [row.item.split(":")[0] for row in nothing] == [
        "DenseNet C1", "DenseNet C2", "DenseNet C3", "GoogLeNet C9", "GoogLeNet C12",
    ]  # fmt: skip
    assert {(row.computed, row.tolerance) for row in nothing} == {(0, 0)}


def test_figure_14_prints_51_52_beside_what_the_papers_formulas_give():
    """Eqs. 1 to 4 by hand: a row of C2 (K 5, D 14) takes 79 + 4 * 44 of 5 * 99 additions."""
    rows = {row.item: row for row in reproduce("figure-14").rows}
    second = rows["LeNet-5 C2: additions saved, %"]
    left = 79 + 4 * 44
    assert second.published == 51.52
    assert second.computed == pytest.approx(100 * (1 - left / 495))
    assert round(100 * left / 495, 2) == 51.52
    greatest = rows["greatest of all layers: additions saved, %"]
    # C1 (K 5, D 32): 14 outputs, the first 79 and each further one 44 additions.
    assert greatest.computed == pytest.approx(100 * (1 - (79 + 13 * 44) / (14 * 99)))
    assert not second.ok
    assert not greatest.ok


@pytest.mark.parametrize("what", ["table-7", "figure-13", "figure-14", "figure-15"])
def test_every_documented_reason_is_needed(what):
    assert [row.item for row in reproduce(what).rows if row.difference and row.ok] == []


@pytest.mark.parametrize("what", ["table-7", "figure-13", "figure-14", "figure-15"])
def test_documents(what):
    result = reproduce(what)
    document = json.loads(json.dumps(result.to_json()))
    assert document["ok"] is True
    for row in document["rows"]:
        assert row["relation"] in {"equal", "at least"}
        assert row["source"].startswith("[MLCNN] Sec. VII")
        assert math.isfinite(row["computed"])
    for one in document["beside"]:
        assert {len(row) for row in one["rows"]} == {len(one["columns"])}
