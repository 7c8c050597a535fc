"""CircConv's WRN-22: the rows as published, ours beside them, and the layers that stay dense."""

import pytest

from mlcnn.reproduce import Reproduction, circconv, reproduce, reproduction
from mlcnn.reproduce.circconv import possible_dense
from mlcnn.reproduce.circulant_counts import stored_weights
from mlcnn.reproduce.structure import conv_layers

# N, accuracy, parameters in millions, FLOPs in G.
PUBLISHED = [
    (1, 95.72, 17.16, 3.23),
    (4, 95.55, 4.29, 0.84),
    (8, 95.15, 2.15, 0.44),
    (16, 94.37, 1.07, 0.24),
]


@pytest.fixture(scope="module")
def result() -> Reproduction:
    return reproduce("circconv")


def test_the_published_rows(result: Reproduction) -> None:
    parameters, flops = result.rows[:4], result.rows[4:]
    accuracies = result.beside[2].rows
    found = [
        (int(str(told[0])), told[1], weights.published, operations.published)
        for told, weights, operations in zip(accuracies, parameters, flops, strict=True)
    ]
    assert found == PUBLISHED
    assert {row.tolerance for row in result.rows} == {0.005}
    drops = [told[2] for told in accuracies]
    assert drops == pytest.approx([0, 0.17, 0.57, 1.35])


def test_parameters_come_out(result: Reproduction) -> None:
    """Stem and first projection dense: 2,480 weights; all else padded to blocks and divided."""
    dense = 432 + 2048
    # The classifier's 10 outputs are padded to 12, 16 and 16.
    divided, padded = 17_147_312 - dense - 5120, {4: 12 * 512, 8: 16 * 512, 16: 16 * 512}
    expected = [(divided + padded[block]) // block + dense for block in (4, 8, 16)]
    found = [round(1e6 * row.computed) for row in result.rows[:4]]
    assert found == [17_158_106, *expected]
    assert all(row.ok for row in result.rows[:4])
    assert "conv1 and layer1.0.shortcut dense" in result.conditions


def test_flops_are_said_to_differ(result: Reproduction) -> None:
    stays, classifier = (432 + 2048) * 32**2, 512 * 10
    divided = 2_454_115_328 - stays - classifier
    padded = {1: 10 * 512, 4: 12 * 512, 8: 16 * 512, 16: 16 * 512}
    expected = [(divided + padded[n]) // n + stays for n in (1, 4, 8, 16)]
    assert [round(1e9 * row.computed) for row in result.rows[4:]] == expected
    assert not any(row.ok for row in result.rows[4:])
    assert all(row.difference for row in result.rows[4:])
    dense = result.beside[1].rows[0]
    assert dense[2:4] == (pytest.approx(2.454115328), pytest.approx(4.908230656))


def test_which_layers_can_have_stayed_dense(result: Reproduction) -> None:
    verdicts = {row[0]: row[-1] for row in result.beside[0].rows}
    assert len(verdicts) == 23
    assert {name for name, verdict in verdicts.items() if verdict != "no"} == {
        "conv1",
        "layer1.0.shortcut",
    }
    assert (verdicts["conv1"], verdicts["layer1.0.shortcut"]) == ("possible", "yes")


def test_possible_sets_by_brute_force() -> None:
    """Against every set of the five smallest layers; the others are too large alone."""
    layers, rows = conv_layers("wrn22_8"), reproduction.published_rows("circconv")
    found = possible_dense(layers, rows)
    assert sorted(map(sorted, found)) == [["conv1", "layer1.0.shortcut"], ["layer1.0.shortcut"]]
    small = [layer for layer in layers if layer.K * layer.C * layer.R * layer.S < 140_000]
    expected = []
    for bits in range(1 << len(small)):
        dense = {layer.name for index, layer in enumerate(small) if bits >> index & 1}
        totals = [
            sum(stored_weights(layer, 1 if layer.name in dense else block) for layer in layers)
            for block, *_ in PUBLISHED[1:]
        ]
        if all(
            abs(total / 1e6 - printed[2]) <= 0.005
            for total, printed in zip(totals, PUBLISHED[1:], strict=True)
        ):
            expected.append(dense)
    assert sorted(map(sorted, expected)) == sorted(map(sorted, found))


def test_with_the_norms_no_layer_could_be_circulant_enough() -> None:
    """Why the rows of N > 1 leave norms and biases out."""
    layers = conv_layers("wrn22_8")
    norms = 17_158_106 - sum(stored_weights(layer, 1) for layer in layers)
    assert norms == 10_794
    assert (sum(stored_weights(layer, 16) for layer in layers) + norms) / 1e6 > 1.07 + 0.005


def test_another_network_does_not_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circconv, "_NETWORK", "resnet18")
    other = reproduce("circconv")
    assert not other.ok
    assert not any(row.ok for row in other.rows[:4])
    assert "nothing dense" in other.conditions
    assert {row[-1] for row in other.beside[0].rows} == {"no"}
