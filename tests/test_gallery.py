"""The gallery of known architectures: what is counted, and how its table says it."""

import sys

import pytest

from benchmarks import gallery
from benchmarks.gallery import NETWORKS, examine, main, summary


def test_there_are_thirty() -> None:
    assert len(NETWORKS) == 30
    assert len(set(NETWORKS.values())) == 30


def test_what_goes_of_lenet5() -> None:
    """Both convolutions keep a quarter of their products, the dense layers all of theirs."""
    row = examine("lenet5", 0.0)
    convolutions, dense = 6 * 75 * 784 + 16 * 150 * 100, 400 * 120 + 120 * 84 + 84 * 10
    assert row["input"] == [3, 32, 32]
    assert row["counted"]["exact"] == {"sites": 0, "gone": 0.0}
    assert row["counted"]["mlcnn"]["sites"] == 2
    left = (convolutions / 4 + dense) / (convolutions + dense)
    assert row["counted"]["mlcnn"]["gone"] == pytest.approx(1 - left)
    assert row["timed"] == {}


def _row(network: str, exact: int, approximate: int, **timed: object) -> dict[str, object]:
    counted = {"exact": {"sites": exact, "gone": 0.05 * exact}}
    counted["mlcnn"] = {"sites": approximate, "gone": 0.05 * approximate}
    return {
        "network": network, "input": [3, 8, 8], "counted": counted, "processes": 1, "timed": timed,
    }  # fmt: skip


def test_a_line_for_each_pipeline_that_finds_sites_of_its_own() -> None:
    both = {"ratios": {"exact": [1.1, 1.0, 1.2], "mlcnn": [1.5, 1.4, 1.6]}}
    rows = [
        _row("resnet20", 0, 0),
        _row("googlenet", 1, 2, onnxruntime=both, native={"ratios": {"exact": [1.0, 0.9, 1.1]}}),
        _row("lenet5", 0, 2) | {"processes": 0},
        _row("densenet_cifar", 3, 3),
        _row("pytorchcv:shufflenet_g3_w1", 0, 0) | {"refused": "a size is unknown", "counted": {}},
    ]
    assert summary(rows) == [
        ["LeNet-5", "3×8×8", "approximate", "2", "10.0\xa0%", "not measured", "not measured"],
        ["GoogLeNet for CIFAR", "3×8×8", "exact", "1", "5.0\xa0%", "1.10 (1.00 to 1.20)",
         "1.00 (0.90 to 1.10)"],
        ["GoogLeNet for CIFAR", "3×8×8", "approximate", "2", "10.0\xa0%", "1.50 (1.40 to 1.60)",
         "left as it is"],
        ["ResNet-20 for CIFAR", "3×8×8", "none", "0", "0 %", "", ""],
        ["DenseNet for CIFAR", "3×8×8", "exact", "3", "15.0\xa0%", "left as it is",
         "left as it is"],
        ["ShuffleNet v1", "3×8×8", "not counted", "", "", "", ""],
    ]  # fmt: skip
    assert all(len(line) == len(gallery.COLUMNS) for line in summary(rows))


def test_an_unknown_network_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gallery", "lenet6"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "no network lenet6; there are lenet5, " in capsys.readouterr().err
