"""Wang et al., AAAI 2018: its rows as recalled, the abstract's ratios, the bound on its claim."""

import pytest

from mlcnn.reproduce import Reproduction, reproduce, reproduction
from mlcnn.reproduce.aaai18 import fewest_multiplications
from mlcnn.reproduce.circulant_counts import FEWEST, OURS, PRODUCTS

# Design, data, bits, accuracy, kFPS, kFPS/W.
ROWS = """
proposed|MNIST 1|12|92.9|8.6e4|1.57e5
proposed|MNIST 2|12|95.6|2.9e4|5.2e4
proposed|MNIST 3|12|99.0|363|659.5
proposed|SVHN|12|96.2|384.9|699.7
proposed|CIFAR-10 1|12|80.3|1383|2514
proposed|CIFAR-10 2|12|94.75|~14|~25
TrueNorth (Esser 2015)|MNIST low|2|95|1.0|250
TrueNorth (Esser 2015)|MNIST high|2|99+|1.0|9.26
TrueNorth (Esser 2016)|SVHN|2|96.7|2.53|9.85
TrueNorth (Esser 2016)|CIFAR-10|2|83.4|1.25|6.11
FINN (Umuroglu)|MNIST|1|95.8|1.23e4|1693
FINN (Umuroglu)|SVHN|1|94.9|21.9|6.08
FINN (Umuroglu)|CIFAR-10|1|80.1|21.9|6.08
Alemdar|MNIST|2|98.3|255.1|92.59
"""
LARGER, SMALLER = (256, 128, 128, 10), (121, 64, 64, 10)


@pytest.fixture(scope="module")
def result() -> Reproduction:
    return reproduce("aaai18")


def _number(text: str) -> str:
    return text if text.startswith("~") else f"{float(text):g}"


def test_the_rows_are_those_recalled(result: Reproduction) -> None:
    expected = [line.split("|") for line in ROWS.split("\n") if line]
    found = [[str(cell) for cell in row[:6]] for row in result.beside[0].rows]
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    speeds = [[_number(cell) for cell in row[4:]] for row in found]
    assert speeds == [[_number(cell) for cell in row[4:]] for row in expected]


def test_every_row_says_that_it_is_recalled(result: Reproduction) -> None:
    assert "recalled and not re-read" in result.beside[0].title
    assert all(str(row[-1]).startswith("recalled") for row in result.beside[0].rows)
    doubtful = [row[:2] for row in result.beside[0].rows if "little confidence" in str(row[-1])]
    assert doubtful == [("proposed", "CIFAR-10 2")]
    assert all("recalled" in row.source for row in result.rows)


def test_the_ratios_of_the_abstract(result: Reproduction) -> None:
    ratios = [(row.published, round(row.computed, 1), row.ok) for row in result.rows[:3]]
    assert ratios == [(152, 152.1, True), (71, 71.0, True), (31, 30.7, True)]
    assert "different devices" in result.conditions


def test_all_rows_of_the_paper_imply_one_power(result: Reproduction) -> None:
    """0.55 W, within the digits that are printed of kFPS and kFPS/W."""
    halves = {"8.6e4": 500, "1.57e5": 500, "2.9e4": 500, "5.2e4": 500, "~14": 0.5, "~25": 0.5}
    for line in [line for line in ROWS.split("\n") if line.startswith("proposed")]:
        (low, high), (least, most) = (
            (value - half, value + half)
            for text in line.split("|")[4:]
            for value, half in [(float(text.strip("~")), halves.get(text, 0.5))]
        )
        assert low / most <= 0.55 <= high / least
    assert "0.55 to 0.56 W in all 6 rows" in result.beside[0].title


def test_the_bound_by_hand() -> None:
    """Layers in blocks of 128 and 128; the last in blocks of 16, 8 by 1 of them."""
    real_128, real_16 = 64 * (7 - 3) + 2, 8 * (4 - 3) + 2
    layers = (2 * 191 + 3 * real_128, 191 + 2 * real_128, 8 * 23 + 9 * real_16)
    assert fewest_multiplications(LARGER, FEWEST) == sum(layers) == 2137
    assert fewest_multiplications(SMALLER, FEWEST) == 917
    # Only the products: 10 outputs in blocks of 16 again, 8 by 1 of 23.
    assert fewest_multiplications(LARGER, PRODUCTS) == 3 * 191 + 8 * 23


def test_a_layer_that_no_block_helps_stays_dense() -> None:
    assert fewest_multiplications((3, 1), FEWEST) == 3


def test_the_device_is_too_small_for_one_network_and_not_for_the_other(
    result: Reproduction,
) -> None:
    larger, smaller = result.rows[3:]
    assert (larger.published, smaller.published) == (86_000, 86_000)
    assert larger.computed == pytest.approx(684 * 200e6 / 2137 / 1e3)
    assert (larger.ok, larger.accepted) == (False, True)
    assert smaller.ok
    assert smaller.difference == ""
    title = result.beside[3].title
    assert "remembered to have 684" in title
    assert "not verified" in title


def test_the_claims_in_every_way_of_counting(result: Reproduction) -> None:
    found = {(row[0], row[1]): row[2:] for row in result.beside[3].rows}
    ours = found["256-128-128-10", OURS.name]
    # Blocks of 128: four of them, with a padded one of 10 outputs, and seven transforms.
    assert ours[:2] == (4 * 191 + 7 * 356, 2645)
    fewest = found["256-128-128-10", FEWEST.name]
    assert fewest[1:] == (2137, pytest.approx(2137 * 0.086), round(2137 * 8.6e7 / 200e6))
    # Were no constant a multiplication, the device would do: the bound is no proof.
    assert found["256-128-128-10", PRODUCTS.name][-1] < 684 < fewest[-1] < ours[-1]


def test_more_multipliers_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    published_rows = reproduction.published_rows

    def larger_device(what: str) -> list[dict[str, str]]:
        return [{**row, "multipliers": "1000"} for row in published_rows(what)]

    monkeypatch.setattr("mlcnn.reproduce.aaai18.published_rows", larger_device)
    assert all(row.ok for row in reproduce("aaai18").rows)
