"""A fused network trains as the unfused one does."""

import pytest
import torch
from torch import nn

from benchmarks.training_step import limit, networks, step_of
from mlcnn.graph import from_module
from mlcnn.training import Hardware, Precision


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.avg_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = nn.functional.avg_pool2d(torch.relu(self.norm2(self.conv2(x))), 2)
        return self.head(x.flatten(1))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_losses_are_the_same_to_rounding(precision: str, tolerance: float) -> None:
    torch.manual_seed(0)
    model = from_module(Pooled().eval(), (torch.zeros(4, 3, 16, 16),))
    pair = networks(model, "box")
    images, labels = torch.randn(4, 3, 16, 16), torch.randint(10, (4,))
    hardware = Hardware(precision=Precision(precision))
    curves = []
    for each in (pair["unfused"], pair["fused"]):
        step = step_of(each, images, labels, hardware)
        curves.append([step() for _ in range(20)])
    assert curves[0][-1] < 0.9 * curves[0][0]
    # A loss near 0 differs by as much, relatively, as logits do absolutely.
    steps = [step for step, loss in enumerate(curves[0]) if loss > 0.1]
    assert len(steps) >= 5
    found, right = ([curve[step] for step in steps] for curve in (curves[1], curves[0]))
    assert found == pytest.approx(right, rel=tolerance)


def test_the_limit_is_counted() -> None:
    """Box: a pooled layer multiplies a quarter as often; the head as often as before."""
    pair = networks(from_module(Pooled().eval(), (torch.zeros(1, 3, 16, 16),)), "box")
    first, second, head = 16 * 16 * 27 * 6, 8 * 8 * 54 * 8, 128 * 10
    before, after = 2 * first + 3 * (second + head), first / 2 + 3 * (second / 4 + head)
    assert limit(pair["unfused"], pair["fused"]) == pytest.approx(before / after)
