"""The section on latency tells how an engine computes each layer, where the engine tells."""

from report.conftest import summary_of

from mlcnn.engines import LayerAlgorithm
from mlcnn.report import Latency
from mlcnn.report.sections.latency import latency
from mlcnn.report.summary import ORIGINAL, RESULT

LAYER = LayerAlgorithm(
    "conv1", "1x16 -> 16x32x32, 3x3", "Winograd F(4x4, 3x3)", "measured 0.025 ms; direct 0.043 ms",
    0.025, measured=True, peak_share=1.54, bound="transforms",
)  # fmt: skip


def test_the_layers_of_the_result_are_told() -> None:
    rows = (
        Latency("native", ORIGINAL, 1, 1, 2.0, 2.0, 2.0, algorithms=(LAYER, LAYER)),
        Latency("native", RESULT, 1, 1, 1.0, 1.0, 1.0, algorithms=(LAYER,)),
        Latency("onnxruntime", RESULT, 1, 1, 1.0, 1.0, 1.0),
    )
    section = latency(summary_of("net", [], [], latencies=rows))
    assert section is not None
    (told,) = section.content.algorithms
    assert told.title == f"native, {RESULT}, batch 1"
    (layer,) = told.layers
    assert (layer.name, layer.algorithm, layer.bound) == ("conv1", LAYER.algorithm, "transforms")
    assert layer.share == "154 %"
    assert "estimated" not in layer.time
