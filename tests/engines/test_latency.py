"""Rows, ratios and reasons of a benchmark."""

import json

import pytest

from mlcnn import engines
from mlcnn.engines import Bench, BenchResult, Timing
from mlcnn.errors import InputError, UnsupportedError

QUICK = {"budget_s": 0.02}


def test_there_is_a_row_per_engine_batch_and_variant(convolution) -> None:
    models = {"original": convolution, "fused": convolution}
    found = engines.bench(models, engines=["onnxruntime", "torch"], batches=(1, 4), **QUICK)
    assert [(row.engine, row.batch, row.variant) for row in found.results] == [
        (engine, batch, variant)
        for engine in ("onnxruntime", "torch")
        for batch in (1, 4)
        for variant in ("original", "fused")
    ]
    assert found.skipped == ()
    assert all(0 < row.q1_ms <= row.median_ms <= row.q3_ms < 1000 for row in found.results)
    assert all(row.threads == 1 for row in found.results)


def test_more_work_takes_longer(convolution, any_size) -> None:
    del any_size
    found = engines.bench({"only": convolution}, engines=["onnxruntime"], batches=(1, 256), **QUICK)
    small, large = found.results
    assert large.median_ms > 5 * small.median_ms


def test_the_document_has_the_promised_keys(convolution) -> None:
    found = engines.bench({"original": convolution}, engines=["onnxruntime"], **QUICK)
    document = json.loads(json.dumps(found.to_json()))
    assert set(document) == {"results", "skipped", "warnings", "processor", "depends"}
    row = document["results"][0]
    assert {name: type(value) for name, value in row.items()} == {
        "engine": str,
        "variant": str,
        "batch": int,
        "threads": int,
        "precision": str,
        "median_ms": float,
        "q1_ms": float,
        "q3_ms": float,
        "rounds": int,
    }


def test_what_an_engine_refuses_is_a_reason(convolution, foreign) -> None:
    found = engines.bench(
        {"original": foreign}, engines=["onnxruntime", "openvino", "torch"], **QUICK
    )
    assert found.results == ()
    assert [row.engine for row in found.skipped] == ["onnxruntime", "openvino", "torch"]
    assert all("Frobnicate" in row.reason for row in found.skipped)
    assert json.loads(json.dumps(found.to_json()))["skipped"][0]["variant"] == "original"


def test_the_other_variants_are_still_measured(two_by_two, foreign) -> None:
    models = {"good": two_by_two, "bad": foreign}
    found = engines.bench(models, engines=["onnxruntime"], **QUICK)
    assert [row.variant for row in found.results] == ["good"]
    assert [row.variant for row in found.skipped] == ["bad"]


def test_a_fixed_batch_leaves_other_batches_out(fixed_batch) -> None:
    found = engines.bench(
        {"original": fixed_batch}, engines=["onnxruntime"], batches=(8, 1), **QUICK
    )
    assert [row.batch for row in found.results] == [1]
    assert [(row.batch, row.variant) for row in found.skipped] == [(8, "original")]
    assert "has a fixed batch" in found.skipped[0].reason


def test_a_missing_package_is_a_reason(monkeypatch, convolution) -> None:
    def get(name: str, precision: str | None = None):
        del precision
        raise UnsupportedError(f"engine {name!r}: not installed")

    monkeypatch.setattr("mlcnn.engines.latency.get", get)
    found = engines.bench({"original": convolution}, engines=["openvino"], **QUICK)
    assert found.results == ()
    assert found.skipped[0].reason == "engine 'openvino': not installed"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engines": ["onnxruntimes"]}, "did you mean 'onnxruntime'?"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"threads": 0}, "threads must be 1 or more, got 0"),
        ({"batches": (0,)}, "batch must be 1 or more, got 0"),
        ({"batches": ()}, "there is no batch size to measure"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(options, told, convolution) -> None:
    def progress(engine: str, batch: int) -> None:
        pytest.fail(f"measured {engine} at batch {batch}")

    with pytest.raises(InputError) as failure:
        engines.bench({"original": convolution}, progress=progress, **options)
    assert told in str(failure.value)


def test_a_fixed_batch_alone_is_refused(fixed_batch) -> None:
    with pytest.raises(InputError, match="has a fixed batch; export it with a dynamic one"):
        engines.bench({"original": fixed_batch}, batches=(2,), **QUICK)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InputError, match="there is no network to measure"):
        engines.bench({})


def test_sizes_can_be_given(any_size) -> None:
    found = engines.bench(
        {"original": any_size}, engines=["onnxruntime"], shapes={"image": (1, 3, 6, 7)}, **QUICK
    )
    assert len(found.results) == 1


def test_progress_is_told(convolution) -> None:
    told: list[tuple[str, int]] = []
    engines.bench(
        {"original": convolution},
        engines=["onnxruntime", "torch"],
        batches=(1, 2),
        progress=lambda engine, batch: told.append((engine, batch)),
        **QUICK,
    )
    assert told == [("onnxruntime", 1), ("onnxruntime", 2), ("torch", 1), ("torch", 2)]


def test_a_speedup_pairs_the_rounds() -> None:
    slow = BenchResult("torch", "original", 1, 1, Timing((4.0, 8.0, 12.0)))
    quick = BenchResult("torch", "fused", 1, 1, Timing((2.0, 4.0, 6.0)))
    found = Bench((slow, quick)).speedup("torch", "fused", "original", 1)
    assert found is not None
    assert (found.value, found.low, found.high) == (2, 2, 2)
    assert Bench((slow, quick)).speedup("torch", "fused", "original", 8) is None


def test_noise_is_told(monkeypatch, convolution) -> None:
    def interleave(callables, **_options):
        return {name: Timing((1.0, 2.0, 3.0)) for name in callables}

    monkeypatch.setattr("mlcnn.engines.latency.interleave", interleave)
    found = engines.bench({"original": convolution}, engines=["onnxruntime"], **QUICK)
    assert found.warnings == (
        f"onnxruntime, batch 1: {engines.noise({'original': Timing((1.0, 2.0, 3.0))})}",
    )
    assert "the quartiles of original lie up to 50% of the median apart" in found.warnings[0]
