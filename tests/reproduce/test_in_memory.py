"""Engines of memory sub-arrays beside what is published of them."""

import pytest

from mlcnn.reproduce import reproduce

IMCE_UJ = 785.25
"""Of AlexNet, an image; [IMCE], abstract."""


def test_the_published_energy_lies_within_what_could_be_meant():
    result = reproduce("imce")
    assert not result.rows
    band, against, products = result.beside
    assert f"{IMCE_UJ} published" in band.title
    whole = [row[band.columns.index("with DRAM, uJ")] for row in band.rows]
    assert min(whole) < IMCE_UJ < max(whole)
    shares = [row[-1] for row in band.rows]
    assert shares == pytest.approx([100 * energy / IMCE_UJ for energy in whole])
    assert {row[0] for row in against.rows} == {
        "dcnn-int8", "imce-stt", "imce-stt-aggressive", "imce-sram",
    }  # fmt: skip
    # 16 mW at 1.2 GS/s over 8 converters, for 128 rows of 2 bits.
    (converter,) = [row[1] for row in products.rows if "converter alone" in row[0]]
    assert converter == pytest.approx(16e-3 / 8 / 1.2e9 * 1e15 / 256, rel=0.01)


def test_published_rows_are_within_twice_or_said_not_to_be_reproduced():
    rows = {row.item: row for row in reproduce("isvlsi-2019").rows}
    assert [row.published for row in rows.values()] == [0.78, 0.78, 1.8, 0.012, 1.6]
    energies = [row for item, row in rows.items() if "uJ" in item and "STT" in item]
    assert all(row.ok and not row.difference for row in energies)
    others = [row for row in rows.values() if row not in energies]
    assert all(not row.ok and row.difference for row in others)
    assert [row.difference.split(":")[0] for row in others] == [
        "not reproduced", "not reproduced", "contradicted",
    ]  # fmt: skip
