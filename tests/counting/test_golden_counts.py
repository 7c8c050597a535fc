"""Every layer that the paper fuses, to the printed digits."""

import csv
from pathlib import Path

import pytest

from mlcnn.counting import count_layer
from mlcnn.workload import ConvLayer, Pool

GOLDEN = Path(__file__).parent.parent / "golden"


def _rows(name):
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


LAYERS = _rows("layer_operations.csv")
NETWORKS = _rows("network_operations.csv")


def _layer(row):
    kernel, size, pads = int(row["kernel"]), int(row["size"]), int(row["pads"])
    window, stride = int(row["pool_kernel"]), int(row["pool_strides"])
    pool = Pool((window, window), (stride, stride), (int(row["pool_pads"]),) * 4)
    return ConvLayer(
        row["layer"], N=1, K=int(row["K"]), C=int(row["C"]), H=size, W=size, R=kernel, S=kernel,
        pads=(pads,) * 4, pool=pool,
    )  # fmt: skip


def _check(row, macs, multiplications, additions):
    millions, percent = float(row["tolerance_millions"]), float(row["tolerance_percent"])
    computed = {
        "macs": macs,
        "fused_multiplications": multiplications.fused,
        "original_additions": additions.original,
        "paper_additions": additions.paper,
        "shared_additions": additions.shared,
    }
    for column, value in computed.items():
        assert value / 1e6 == pytest.approx(float(row[column]), abs=millions + 1e-9), column
    reductions = {
        "multiplications_reduction": (multiplications.fused, multiplications.original),
        "paper_reduction": (additions.paper, additions.original),
        "shared_reduction": (additions.shared, additions.original),
    }
    for column, (after, before) in reductions.items():
        reduction = 100 * (1 - after / before)
        assert reduction == pytest.approx(float(row[column]), abs=percent + 1e-9), column


def test_the_golden_tables_are_complete():
    layers = [sum(row["network"] == network["network"] for row in LAYERS) for network in NETWORKS]
    assert layers == [2, 5, 5, 12, 12, 3, 3, 1]


@pytest.mark.parametrize("row", LAYERS, ids=lambda row: f"{row['network']} {row['layer']}")
def test_layer(row):
    layer = _layer(row)
    counted = count_layer(layer)
    _check(row, layer.macs, counted.multiplications, counted.additions)


@pytest.mark.parametrize("row", NETWORKS, ids=lambda row: row["network"])
def test_total_of_the_fused_layers(row):
    layers = [_layer(other) for other in LAYERS if other["network"] == row["network"]]
    counted = [count_layer(layer) for layer in layers]
    multiplications, additions = counted[0].multiplications, counted[0].additions
    for other in counted[1:]:
        multiplications += other.multiplications
        additions += other.additions
    _check(row, sum(layer.macs for layer in layers), multiplications, additions)
