"""Layers that compare and add beside what is published of them."""

import math
import re
from dataclasses import replace

import pytest

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, load_accelerator, load_technology
from mlcnn.reproduce import Beside, reproduce

CNN, LBCNN, FASTER = 94, 3, 4.3
"""Times the energy and the latency of CMP-PIM; [CMP-PIM], abstract."""


@pytest.fixture(scope="module")
def tables() -> tuple[Beside, ...]:
    result = reproduce("cmp-pim")
    assert not result.rows
    assert result.ok
    return result.beside


def _cells(table: Beside) -> dict[tuple[str, ...], dict[str, object]]:
    return {row[:4]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_energies_are_those_of_the_two_tables(tables):
    used = {row[:2]: row[2:5] for row in tables[0].rows}
    # Horowitz, ISSCC 2014, and Aladdin at 1 ns: products, sums, comparisons.
    assert used["Horowitz, 45 nm", "baseline FP32"] == (3.7, 0.9, None)
    assert used["Horowitz, 45 nm", "baseline INT8"] == (0.2, 0.1, None)
    assert used["Horowitz, 45 nm", "adder INT16"] == (None, 0.05, 0.05)
    assert used["Aladdin, 40 nm, 1 ns", "baseline FP32"] == (35.3, 16.7, None)
    assert used["Aladdin, 40 nm, 1 ns", "baseline INT32"] == (12.68, 0.21, None)
    assert used["Aladdin, 40 nm, 1 ns", "adder INT32"] == (None, 0.21, 0.0295)


def test_ratios_are_those_of_operations(tables):
    """A position of 16 channels by hand: 9 x 16 products a filter, 64 maps to compare and add."""
    cells = _cells(tables[1])
    equal = "equal channels, 4 pairs a channel"
    for (adder, add, compare), baseline, product in (
        (("FP32", 0.9, 0.1), "FP32", 4.6),
        (("INT32", 0.1, 0.1), "FP32", 4.6),
        (("INT16", 0.05, 0.05), "INT8", 0.3),
    ):
        cell = cells["Horowitz, 45 nm", equal, baseline, adder]
        expected = 9 * 16 * 16 * product / (64 * compare + 64 * 16 * add)
        assert cell["CNN : comparator"] == pytest.approx(expected)
        assert cell["CNN : LBCNN"] is None


def test_lbcnn_adds_by_the_taps_that_are_not_zero_and_multiplies_in_its_1x1(tables):
    """Of 512 filters of 9 x 16 taps, 0.9 drawn with replacement: 59 % are not zero."""
    cells = _cells(tables[1])
    block = "LBCNN's block, 512 filters and maps"
    cell = cells["Horowitz, 45 nm", block, "FP32", "FP32"]
    wide, point = 512 * 9 * 16, 512 * 16
    taps = wide * (1 - (1 - 1 / wide) ** round(0.9 * wide))
    lbcnn = taps * 0.9 + point * 4.6
    assert cell["CNN : LBCNN"] == pytest.approx((wide + point) * 4.6 / lbcnn, rel=1e-4)
    for cell in cells.values():
        if cell["CNN : LBCNN"] is not None:
            product = cell["LBCNN : comparator"] * cell["CNN : LBCNN"]
            assert cell["CNN : comparator"] == pytest.approx(product)
            # Both claims together imply 31.
            assert cell["CNN : LBCNN"] < CNN / LBCNN / 3


def test_the_nearest_row_of_each_claim_is_marked_and_no_other(tables):
    rows = list(_cells(tables[1]).values())
    for published, name in ((CNN, "CNN : comparator"), (LBCNN, "LBCNN : comparator")):
        (marked,) = [row for row in rows if f"{published}x" in str(row["nearest to"])]
        away = [abs(math.log(row[name] / published)) for row in rows if row[name] is not None]
        assert abs(math.log(marked[name] / published)) == min(away)
    assert sum(bool(row["nearest to"]) for row in rows) <= 2
    assert f"{CNN} and {LBCNN} are published" in tables[1].title


def test_arrays_fill_the_area_of_the_engine(tables):
    technology = load_technology(DEFAULT_TECHNOLOGY)
    area = load_accelerator("cmp-pim").area(technology)
    found = {re.match(r"(\S+), (\d+) slices", str(row[0])).groups() for row in tables[2].rows}
    assert {name for name, _ in found} == {"dcnn-fp32", "dcnn-int8"}
    for name, slices in found:
        array = replace(load_accelerator(name), slices=int(slices))
        larger = replace(array, slices=int(slices) + 1)
        assert array.area(technology) <= area < larger.area(technology)


def test_the_published_speed_lies_within_what_could_be_meant(tables):
    rows = [dict(zip(tables[2].columns, row, strict=True)) for row in tables[2].rows]
    assert f"{FASTER} times the speed is published" in tables[2].title
    for row in rows:
        assert row["speed-up"] == pytest.approx(row["array, cycles"] / row["our cycles"])
    speeds = [row["speed-up"] for row in rows]
    assert min(speeds) < FASTER < max(speeds)
