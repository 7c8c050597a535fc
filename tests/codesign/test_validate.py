"""The cost model beside Timeloop's figures, on a part of the table; and bad tables."""

import gzip
import json
from pathlib import Path

import pytest

from mlcnn.codesign.dosa import parse_mapping, read_rows
from mlcnn.codesign.validate import main, validate
from mlcnn.errors import InputError

_TABLE = Path(__file__).parents[1] / "golden" / "dosa_gemmini_mappings.csv"


@pytest.fixture(scope="module")
def result():
    return validate(read_rows(_TABLE))


def test_timeloops_cycles_are_met_exactly(result):
    assert result["latency_exact_share"] == 1
    assert result["latency_mae"] == 0


def test_timeloops_energies_are_met(result):
    assert result["energy_max"] <= 1e-5
    assert result["edp_mae"] <= 1e-5
    assert result["spec_constants"]["energy_mae"] <= 3e-4
    assert result["spec_constants"]["edp_mae"] <= 3e-4


def test_a_true_walk_differs_from_timeloop(result):
    assert result["exact"]["energy_mae"] > result["exact_box"]["energy_mae"] > 1e-3
    assert result["exact_box"]["latency_exact_share"] < 1


def test_the_areas_error_is_told(result):
    assert 0.05 < result["area"]["mae"] < 0.1


def test_the_command_prints_one_document(tmp_path, capsys):
    file = tmp_path / "few.csv.gz"
    lines = _TABLE.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_bytes(gzip.compress("".join(lines[:4]).encode()))
    assert main([str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert main([str(file)]) == 0
    assert "latency_exact_share: 1\n" in capsys.readouterr().out


def _changed(tmp_path, old, new):
    lines = _TABLE.read_text(encoding="utf-8").splitlines(keepends=True)
    file = tmp_path / "table.csv"
    file.write_text("".join(lines[:2]).replace(old, new), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prob.K", "prob.X", ":2: there is no column 'prob.K'"),
        ("[WIO]", "(WIO)", ":2: level 'L3(WIO)"),
        ("L2[", "L5[", "its levels must be L3, L2, L1, L0"),
    ],
)
def test_bad_tables_are_told_by_line(tmp_path, capsys, old, new, message):
    assert main([str(_changed(tmp_path, old, new))]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_table_is_told(tmp_path, capsys):
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv: cannot be read" in capsys.readouterr().err


def test_a_table_without_rows_is_told(tmp_path):
    file = tmp_path / "empty.csv"
    file.write_text("target.cycle\n", encoding="utf-8")
    with pytest.raises(InputError, match="there is no row"):
        read_rows(file)


def test_a_mapping_of_other_levels_is_told():
    with pytest.raises(InputError, match="its levels must be L3, L2, L1, L0"):
        parse_mapping("L1[WIO] K2 - L0[W] N1")
