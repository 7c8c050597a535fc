"""What costs are called, and in which unit."""

import pytest

from mlcnn.frontier import amount, label


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("bytes", 1_156_000, "file size: 1,156 kB"),
        ("peak_bytes", 900, "peak memory: 0.9 kB"),
        ("energy_pj", 260_311_541.4, "energy of an image: 260.3 µJ"),
        ("latency_ms onnxruntime", 0.39694, "latency in onnxruntime: 0.3969 ms"),
        ("latency_ms native:auto", 12.0, "latency in native:auto: 12 ms"),
        ("parameters", 268_346, "parameters: 268,346"),
        ("multiplications", 15_479_296.0, "multiplications: 15,479,296"),
        ("multiplications run", 12.5, "multiplications, zeros too: 12.5"),
        ("of a user's own", 3.0, "of a user's own: 3"),
    ],
)
def test_costs_in_words(key, value, told):
    assert f"{label(key)}: {amount(key, value)}" == told
