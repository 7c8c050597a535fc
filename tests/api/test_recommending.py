"""Which method serves a layer best: gains, losses that are said to be that, and ties."""

from mlcnn.api.layer_results import LayerResult
from mlcnn.api.recommending import recommend, recommendations_shown
from mlcnn.api.shrinking import Sensitivity
from mlcnn.engines import Ratio
from mlcnn.frontier import LayerSize, LayerTime
from mlcnn.training.intervals import Difference

WHOLE = LayerSize("conv", 100, 100, 1000, 1000)


def row(parameters: int, multiplications: float, run: float, *times: LayerTime) -> LayerResult:
    after = LayerSize("conv", parameters, 100, multiplications, run)
    return LayerResult("conv", WHOLE, after, times)


def timed(engine: str, low: float, value: float, high: float) -> LayerTime:
    return LayerTime("conv", engine, 1.0, 1 / value, Ratio(value, low, high))


SLOW, FAST = timed("a", 0.8, 0.85, 0.9), timed("a", 1.2, 1.3, 1.4)
UNSURE = timed("b", 0.9, 1.1, 1.3)
RESULTS = {
    "weights": [row(50, 500, 1000, FAST, UNSURE)],
    "shared-kernels": [row(20, 700, 900, SLOW, UNSURE)],
}


def test_the_objective_decides():
    chosen = {
        quantity: recommend(quantity, RESULTS)[0].method
        for quantity in ("parameters", "multiplications", "energy_pj", "latency_ms a")
    }
    assert chosen == {
        "parameters": "shared-kernels", "multiplications": "weights",
        "energy_pj": "shared-kernels", "latency_ms a": "weights",
    }  # fmt: skip


def test_a_loss_is_said_to_be_one():
    (found,) = recommend("parameters", RESULTS)
    assert found.told == "a loss in a: 0.85x the speed"
    assert found.gains == {"weights": 2.0, "shared-kernels": 5.0}
    (left,) = recommend("latency_ms a", {"shared-kernels": RESULTS["shared-kernels"]})
    assert (left.method, left.told) == ("", "the best, shared-kernels, is a loss: 0.85x")
    (unsure,) = recommend("latency_ms b", RESULTS)
    assert (unsure.method, unsure.told) == ("", "the best, weights, is no sure gain: 1.10x")
    assert unsure.to_json()["method"] is None
    shown = recommendations_shown("latency_ms b", [unsure])
    assert shown.rows[0][:2] == ("conv", "leave dense")
    assert "latency in b" in shown.title


def test_of_equals_the_one_that_the_layer_minds_least():
    results = {"weights": [row(50, 500, 1000)], "channels": [row(51, 510, 510)]}
    assert recommend("parameters", results)[0].method == "weights"
    minds = [
        Sensitivity(method, "conv", 0.1, Difference(change, (change, change)))
        for method, change in (("weights", -0.2), ("channels", -0.1))
    ]
    (found,) = recommend("parameters", results, minds)
    assert found.method == "channels"
    assert found.told.startswith("half of it gone: -10.00 points")


def test_a_layer_that_is_not_found_again_stays():
    gone = {"channels": [LayerResult("conv", WHOLE, None)]}
    (found,) = recommend("parameters", gone)
    assert (found.method, found.told) == ("", "what it would cost is not known")
