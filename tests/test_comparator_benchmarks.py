"""The benchmark of comparator layers: what it times, and what it says of times."""

import sys
from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks import comparator_layers
from benchmarks.comparator_layers import comparator_layer, main, native_layer
from mlcnn.engines import Timing, available, get
from mlcnn.ops.comparator import SHARED

native = pytest.mark.skipif("native" not in available(), reason="no C compiler here")


@pytest.mark.parametrize(("weights", "most"), [("1", 2), ("2", 4), ("8", 255), ("floats", None)])
@pytest.mark.parametrize("shared", [SHARED, 1])
def test_a_layer_compares_four_pairs_of_each_channel(
    weights: str, most: int | None, shared: int
) -> None:
    model = comparator_layer(32, 6, weights, shared=shared)
    places = [
        node.inputs[1].const_value.numpy().reshape(4, 32)
        for node in model.graph
        if node.op_type == "Gather"
    ]
    assert len(places) == 2
    for one in places:  # tap * channels + channel
        np.testing.assert_array_equal(one % 32, np.tile(np.arange(32), (4, 1)))
        taps = one // 32
        alike = (taps[:, :16] == taps[:, :1]).all() and (taps[:, 16:] == taps[:, 16:17]).all()
        assert alike == (shared == SHARED)
    assert (places[0] != places[1]).all()
    stored = next(
        value.const_value.numpy()
        for value in model.graph.initializers.values()
        if tuple(value.shape or ()) == (32, 128, 1, 1)
    )
    assert most is None or len(np.unique(stored)) <= most


@native
@pytest.mark.parametrize("weights", ["1", "8"])
def test_what_is_timed_is_the_layer_alone(weights: str) -> None:
    """Codes in, codes out: their rounding to and from floats is no part of it."""
    layer = native_layer(comparator_layer(32, 6, weights))
    assert layer.kernel.startswith("compares, ")
    layer.runner()()


@native
def test_both_engines_compute_the_same_network() -> None:
    model = comparator_layer(16, 6, "8")
    image = np.random.default_rng(0).uniform(0, 5, (1, 16, 6, 6)).astype(np.float32)
    one, other = (
        next(iter(get(name).prepare(model).run({"x": image}).values()))
        for name in ("native", "onnxruntime")
    )
    assert len(np.unique(one)) > 20
    # Odd multiples of 127 lie in the middle of two codes, where floats fall to either side.
    assert np.abs(one - other).max() < 0.021
    assert (np.abs(one - other) > 0.01).mean() < 1 / 127


@native
def test_ratios_are_over_the_layer_of_floats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def times(runners: Mapping[str, object], **_: object) -> dict[str, Timing]:
        """In place of a clock: 9 ms of floats, 1 ms of native, 3 ms elsewhere."""
        return {
            name: Timing((9.0 if name == "FP32 3x3" else 3.0 if ":" in name else 1.0,) * 7)
            for name in runners
        }

    monkeypatch.setattr(comparator_layers, "interleave", times)
    monkeypatch.setattr(sys, "argv", ["x", "--layers", "64@5", "--weights", "1", "floats"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "64@5: FP32 3x3 9.000 ms"
    assert "1.000 ms, 9.00 (9.00 to 9.00); at least 8" in lines[2]
    assert lines[2].startswith("  W1, pairs of 16 channels (compares, ")
    assert "onnxruntime: 3.000 ms, 3.00 (3.00 to 3.00)" in lines[3]
    of_floats = [line for line in lines if line.startswith("  Wfloats, pairs of each channel")]
    assert of_floats
    assert "at least" not in of_floats[0]
