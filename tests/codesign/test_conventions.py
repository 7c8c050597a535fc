"""Each convention against what it is named after."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from mlcnn.codesign import (
    EXACT,
    EXACT_BOX,
    TIMELOOP_2023,
    TIMELOOP_2024,
    Batch,
    Mapping,
    Operand,
    check_factors,
    convention,
    count,
    tile_words,
)
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_GOLDEN = Path(__file__).parents[1] / "golden"


def _exercises():
    with (_GOLDEN / "timeloop_exercises.csv").open(encoding="utf-8") as file:
        cases = defaultdict(list)
        for row in csv.DictReader(file):
            cases[row["exercise"]].append(row)
    return [pytest.param(rows, id=name) for name, rows in cases.items()]


def _problem(text):
    sizes = {part[0]: int(part[1:]) for part in text.split()}
    width = sizes["P"] + sizes["R"] - 1
    return loop_nest(ConvLayer("conv1d", 1, sizes["K"], sizes["C"], width, 1, sizes["R"], 1))


@pytest.mark.parametrize("rows", _exercises())
def test_timeloop_2024_counts_the_exercises(rows):
    nest, mapping = _problem(rows[0]["problem"]), Mapping.parse(rows[0]["mapping"])
    check_factors(mapping, nest)
    batch = Batch.of([mapping], nest)
    counts, tiles = count(nest, batch, TIMELOOP_2024), tile_words(nest, batch, TIMELOOP_2024)
    levels = [part.split("[")[0] for part in rows[0]["mapping"].split(" - ")]
    for row in rows:
        at = levels.index(row["level"]), list(Operand).index(row["operand"]), 0
        found = [int(array[at]) for array in (tiles, counts.reads, counts.fills, counts.updates)]
        names = ("capacity", "reads", "fills", "updates")
        assert found == [int(row[name]) for name in names], row
        assert counts.instances[at[0], 0] == int(row["instances"])
        assert counts.cycles[0] == int(row["cycles"])


def _counts(layer, text, rule):
    nest, mapping = loop_nest(layer), Mapping.parse(text)
    check_factors(mapping, nest)
    return count(nest, Batch.of([mapping], nest), rule)


def _input_fills(layer, text, rule):
    return int(_counts(layer, text, rule).fills[1, 1, 0])


_ROW = ConvLayer("row", 1, 2, 1, 1, 10, 1, 3)


@pytest.mark.parametrize(
    ("text", "exact", "timeloop"),
    [
        # Eight steps by one: the halo stays at each.
        ("[WIO] Q8 - [WIO] S3 K2", 10, 10),
        # An irrelevant loop inside is the vector 0: each step after it is another, all is lost.
        ("[WIO] Q8 K2 - [WIO] S3", 10, 24),
        # Taps inside: the outer loop's step minus one tap is the vector 0, not that of a tap.
        ("[WIO] Q8 S3 - [WIO] K2", 24, 24),
    ],
)
def test_what_stays_of_a_tile(text, exact, timeloop):
    assert _input_fills(_ROW, text, EXACT) == exact
    assert _input_fills(_ROW, text, TIMELOOP_2023) == timeloop


def test_a_split_loop_of_two_keeps_the_halo_in_timeloop_too():
    # The same dimension at two levels: from index 1, the outer step is the inner one's.
    text = "[WIO] Q4 - [] Q2 - [WIO] S3 K2"
    counts = [_counts(_ROW, text, rule).fills[2, 1, 0] for rule in (EXACT, TIMELOOP_2023)]
    assert counts == [10, 10]
    text = "[WIO] Q2 - [] Q4 - [WIO] S3 K2"
    counts = [_counts(_ROW, text, rule).fills[2, 1, 0] for rule in (EXACT, TIMELOOP_2023)]
    # Three steps of one, then a step of four from index 1: the vector 3, so the tile comes anew.
    assert counts == [10, 12]


def test_a_stride_beyond_the_kernel_is_where_the_box_differs():
    layer = ConvLayer("shortcut", 1, 1, 1, 7, 7, 1, 1, strides=(2, 2))
    text = "[WIO] - [WIO] P4 Q4"
    words = [_input_fills(layer, text, rule) for rule in (EXACT, EXACT_BOX, TIMELOOP_2023)]
    assert words == [16, 49, 49]


def test_first_fills_are_one_output_size():
    layer = ConvLayer("c", 2, 4, 4, 5, 5, 3, 3)
    text = "[WIO] C2 N2 K2 - [WIO] C2 K2 P3 Q3 R3 S3"
    old, new = (_counts(layer, text, rule) for rule in (TIMELOOP_2023, TIMELOOP_2024))
    difference = old.fills - new.fills
    assert difference[1, 2, 0] == 2 * 4 * 3 * 3
    assert np.count_nonzero(difference) == 1
    assert np.array_equal(old.reads, new.reads)


def test_counts_beyond_exact_doubles_are_an_error():
    layer = ConvLayer("vast", 2**20, 2**20, 2**20, 1, 1, 1, 1)
    text = f"[WIO] N{2**20} K{2**20} C{2**20}"
    with pytest.raises(InputError, match=r"nest vast: a count of .* is beyond what float64"):
        _counts(layer, text, EXACT)


def test_an_unknown_convention_names_the_nearest():
    with pytest.raises(InputError) as told:
        convention("exact-boxes")
    assert str(told.value) == (
        "unknown convention 'exact-boxes'; did you mean 'exact-box'?; known: exact, "
        "exact-box, timeloop-2023, timeloop-2024"
    )
