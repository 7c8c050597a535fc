"""Cycles measured on a Gemmini beside the plain analysis and the refined one; and bad tables.

``MLCNN_FIRESIM`` may name the whole table, of which every fifth row is here.
"""

import csv
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlcnn.codesign import TIMELOOP_2023, load_architecture
from mlcnn.codesign.dosa import read_rows
from mlcnn.codesign.firesim import evaluate, main, split_layers
from mlcnn.codesign.refinement import FEATURES, Refinement, features_of
from mlcnn.errors import InputError

_GOLDEN = Path(__file__).parents[1] / "golden"
_TABLE = _GOLDEN / "firesim_gemmini_cycles.csv"
_OTHER = _GOLDEN / "dosa_gemmini_mappings.csv"


@pytest.fixture(scope="module")
def result():
    return evaluate(read_rows(_TABLE))


def _features(rows):
    return features_of(rows, load_architecture("gemmini"), TIMELOOP_2023)


def _measured(rows, cycles):
    return [replace(row, cycles=float(one)) for row, one in zip(rows, cycles, strict=True)]


def _by_hand(path):
    """Lines faster than their loops in time, and rows over 16 side by side, from the text alone."""
    impossible, wide = [], 0
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            loops = re.findall(r" [NKCPQRS](\d+)(X?)", row["mapping.mapping"])
            if float(row["target.cycle"]) < math.prod(int(n) for n, mark in loops if not mark):
                impossible.append(line)
            wide += any(int(n) > 16 for n, mark in loops if mark)
    return impossible, wide


def test_impossible_rows_are_listed_and_left_out(result):
    impossible, wide = _by_hand(_TABLE)
    assert [one["line"] for one in result["impossible"]] == impossible
    assert all(0 < one["ratio"] < 1 for one in result["impossible"])
    assert result["rows_over_16_side_by_side"] == wide
    assert all(
        sum(half["rows"].values()) == result["rows"] - len(impossible) for half in result["splits"]
    )


def test_the_placeholder_is_told(result):
    assert result["architecture_of_the_file"] == "a placeholder: 128 x 128 in every row"
    assert result["architecture"] == "gemmini, 16 x 16"


def test_the_plain_analysis_is_as_far_off_as_others_found(result):
    # An independent program over the whole table: 56 % on average, rank 0.86, log-RMS 1.49.
    assert result["plain"]["mean_relative_error"] == pytest.approx(0.56, abs=0.03)
    assert result["plain"]["rank_correlation"] == pytest.approx(0.86, abs=0.02)
    assert result["plain"]["log_rms"] == pytest.approx(1.49, abs=0.06)


def test_the_refinement_is_nearer_on_layers_that_it_never_saw(result):
    assert result["refined"]["log_rms_lower_by"]["mean"] >= 0.3
    assert result["refined"]["log_rms_lower_by"]["least"] > 0.1
    refined, factor = (result["refined"][f"{one}.log_rms"] for one in ("refined", "one_factor"))
    assert refined < 0.9 * factor
    rank = "rank_correlation"
    assert result["refined"][f"refined.{rank}"] > result["refined"][f"plain.{rank}"]


@pytest.mark.skipif("MLCNN_FIRESIM" not in os.environ, reason="the whole table is not given")
def test_the_whole_table():
    result = evaluate(read_rows(Path(os.environ["MLCNN_FIRESIM"])))
    assert result["rows"] == 1567
    assert result["rows_over_16_side_by_side"] == 490
    assert len(result["impossible"]) == 28
    assert min(one["ratio"] for one in result["impossible"]) == pytest.approx(0.12, abs=0.005)
    assert result["refined"]["log_rms_lower_by"]["mean"] >= 0.3


def test_a_law_is_found_on_other_layers():
    rows = read_rows(_OTHER)
    logs = _features(rows).logs
    tiles = list(FEATURES).index("tiles")
    law = _measured(rows, np.exp(1.5 + logs[:, 0] + 0.4 * logs[:, tiles]))
    found = evaluate(law, splits=4)
    assert found["impossible"] == []
    assert found["refined"]["refined.log_rms"] < 0.1 * found["refined"]["one_factor.log_rms"]


def test_nothing_is_found_in_noise():
    rows = read_rows(_OTHER)
    noise = np.random.default_rng(0).normal(2.5, 0.5, len(rows))
    found = evaluate(_measured(rows, _features(rows).plain * np.exp(noise)), splits=8)
    assert found["refined"]["refined.log_rms"] > 0.95 * found["refined"]["one_factor.log_rms"]


def test_what_is_judged_is_not_fitted_to():
    rows = read_rows(_TABLE)
    bound = _features(rows).compute
    rows = [row for row, least in zip(rows, bound, strict=True) if row.cycles >= least]
    layers = list(dict.fromkeys(row.layer for row in rows))
    fitted = split_layers(len(layers), 0)
    before = evaluate(rows, splits=1)["splits"][0]
    assert before["fitted_layers"] == np.flatnonzero(fitted).tolist()
    others = [not fitted[layers.index(row.layer)] for row in rows]
    slower = [replace(row, cycles=row.cycles * 50) if other else row
              for row, other in zip(rows, others, strict=True)]  # fmt: skip
    after = evaluate(slower, splits=1)["splits"][0]
    # The same predictions: every one is off by 50 times more, and their ranks are the same.
    assert after["rows"] == before["rows"]
    for kind in ("one_factor", "refined"):
        ranks = (one[kind]["rank_correlation"] for one in (before, after))
        assert next(ranks) == next(ranks)
    mean = Refinement.fit(_features(rows).at(~np.array(others)), _cycles(rows)[~np.array(others)])
    errors = np.log(mean.cycles(_features(rows)) / _cycles(slower))[others]
    assert after["refined"]["log_rms"] == pytest.approx(np.sqrt((errors**2).mean()))


def _cycles(rows):
    return np.array([row.cycles for row in rows])


def test_halves_are_of_layers_and_by_seed():
    for many in (2, 7, 66):
        halves = [split_layers(many, seed) for seed in range(5)]
        assert all(half.sum() == many // 2 for half in halves)
        assert np.array_equal(halves[3], split_layers(many, 3))
    assert len({half.tobytes() for half in halves}) == 5


def test_the_command_prints_one_document(capsys):
    assert main([str(_TABLE), "--splits", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [half["seed"] for half in found["splits"]] == [0, 1]
    assert main([str(_TABLE), "--splits", "2"]) == 0
    text = capsys.readouterr().out
    assert f"impossible: {len(found['impossible'])} rows, left out\n" in text
    assert "  seed 1: log_rms " in text
    assert f"plain.log_rms: {found['plain']['log_rms']:.4g}\n" in text


def test_bad_tables_and_options_are_told(tmp_path, capsys):
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv: cannot be read" in capsys.readouterr().err
    assert main([str(_TABLE), "--splits", "0"]) == 2
    assert capsys.readouterr().err == "error: splits: 0; at least 1 is required\n"


def test_one_layer_cannot_be_halved():
    row = read_rows(_TABLE)[0]
    with pytest.raises(InputError) as told:
        evaluate([row, row])
    assert str(told.value) == ("the table has one layer: halves of the layers need two at least")


def test_rows_without_cycles_are_told():
    rows = read_rows(_TABLE)
    with pytest.raises(InputError) as told:
        evaluate([*rows[:-1], replace(rows[-1], cycles=0.0)])
    assert str(told.value) == "cycles must be positive, got 0.0"
