"""The benchmark of the integer model: what it compares."""

from rtl.networks import quantised_lenet5, sample

from benchmarks.rtl_integers import accuracy_row, layer_rows
from mlcnn.rtl.lowering import lower
from mlcnn.training import load_sample


def test_layers_are_compared_on_the_codes_of_onnx_runtime() -> None:
    model, images = quantised_lenet5(), sample()[0][:40]
    network = lower(model, sample()[0][300:])
    rows = layer_rows("fused", model, network, images)
    assert [(row["layer"], row["codes"]) for row in rows] == [
        ("conv1", 40 * 6 * 14**2), ("conv2", 40 * 16 * 5**2), ("fc1", 40 * 120), ("fc2", 40 * 84),
    ]  # fmt: skip
    assert all(row["most off"] <= 1 for row in rows)
    row = accuracy_row("fused", (model, model), network, load_sample().first(40), images)
    assert row["onnxruntime, %"] == row["floats, %"]
    assert row["same class, %"] >= 95
