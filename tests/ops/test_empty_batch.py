"""A detector without a region: every form runs at batch 0, as the original does."""

import numpy as np
import onnxruntime as ort
import pytest
from passes.builder import Net

from mlcnn.graph import inline, to_proto
from mlcnn.ops import forms
from mlcnn.passes import Fuse, pipeline


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("window", [2, 7])
@pytest.mark.parametrize("kernel", [1, 3])
def test_batch_0(form: str, window: int, kernel: int) -> None:
    net = Net("n", 2, 7, 7)
    model = net.model(net.pool(net.conv(net.x, kernel=kernel), window))
    result = pipeline.run(model, [Fuse(form=form)])
    if not result.changes:
        assert "does not apply" in result.skipped[0].reason
        return
    sessions = [
        ort.InferenceSession(to_proto(inline(item)).SerializeToString())
        for item in (model, result.model)
    ]
    for batch in (0, 1, 3):
        x = np.ones((batch, 2, 7, 7), np.float32)
        before, after = (session.run(None, {"x": x})[0] for session in sessions)
        assert after.shape == before.shape
        np.testing.assert_allclose(after, before, atol=1e-5)
