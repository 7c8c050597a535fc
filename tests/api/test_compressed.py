"""What is said of a layer that got smaller."""

import pytest

from mlcnn.api.layer_results import LayerResult
from mlcnn.engines import Ratio
from mlcnn.frontier import LayerSize, LayerTime

WHOLE = LayerSize("conv", 100, 100, 1000, 1000)
HALF = LayerSize("conv", 50, 100, 500, 1000)


def timed(engine: str, value: float, low: float) -> LayerTime:
    return LayerTime("conv", engine, 1.0, 1 / value, Ratio(value, low, 2 * value - low))


@pytest.mark.parametrize(
    ("after", "times", "told"),
    [
        (HALF, (timed("a", 1.02, 1.01), timed("b", 0.9, 0.8)), "smaller, not faster in any engine"),
        (HALF, (timed("a", 1.5, 1.4), timed("b", 1.5, 0.9)), "faster in a"),
        (WHOLE, (timed("a", 1.0, 0.9),), ""),
        (HALF, (), ""),
        (None, (timed("a", 1.0, 0.9),), "smaller, not faster in any engine"),
    ],
)
def test_a_layer_that_is_smaller_and_not_faster_is_said_to_be_that(after, times, told):
    assert LayerResult("conv", WHOLE, after, times).told == told
