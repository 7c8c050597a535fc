"""The benchmark of the PyTorch backend: what its rows say."""

import pytest

from benchmarks.torch_backend import NETWORKS, _row, table


def part(mlcnn: list[float], inductor: list[float], error: float) -> dict[str, object]:
    return {
        "samples": {"mlcnn": mlcnn, "inductor": inductor, "eager": [9.0] * len(mlcnn)},
        "errors": {"mlcnn": error, "inductor": 0.0},
        "compile_s": {"mlcnn": 1.0, "inductor": 2.0},
        "peak_gflops": 100.0,
    }


def test_a_ratio_is_of_neighbours_in_time_and_the_worst_error_counts() -> None:
    first = part([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], 1e-6)  # each twice as fast, though time drifts
    second = part([1.0], [3.0], 5e-6)
    row = _row("resnet18", 1, [first, second])
    assert row["ratios"] == [2.0, 3.0]
    assert row["ratio"] == 2.5
    assert row["errors"] == {"mlcnn": 5e-6, "inductor": 0.0}
    _, ((*_, ratio, difference),) = table([row])
    assert (ratio, difference) == ("2.50 (2.00 to 3.00)", "5.0e-06")
    _, ((*_, ratio, _),) = table([_row("resnet18", 1, [first])])
    assert ratio == "2.00"


def test_the_networks_are_ten_of_the_public_zoo() -> None:
    zoo = pytest.importorskip("pytorchcv.model_provider")
    assert len(set(NETWORKS)) == 10
    assert set(NETWORKS) <= set(zoo._models)
