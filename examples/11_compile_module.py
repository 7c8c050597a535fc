"""Run a PyTorch module faster: mlcnn.compile, and torch.compile with the backend mlcnn."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import mlcnn
from mlcnn.api.dynamo import backend


class SmallNet(nn.Module):
    """Two convolutions with average pools behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.AvgPool2d(2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.AvgPool2d(2),
            nn.ReLU(),
        )
        self.classify = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Features, their means, and a dense layer."""
        return self.classify(self.features(x).mean((2, 3)))


def milliseconds(call: Callable[[Tensor], object], x: Tensor, calls: int = 30) -> float:
    call(x)
    start = time.process_time()
    for _ in range(calls):
        call(x)
    return 1e3 * (time.process_time() - start) / calls


torch.set_num_threads(1)
module = SmallNet().eval()
images = torch.randn(1, 3, 32, 32)

fast = mlcnn.compile(module, images)
print(f"engine: {fast.networks[0].engine}")

with torch.no_grad():
    for batch in (1, 8):  # another batch is no new network
        x = torch.randn(batch, 3, 32, 32)
        error = (fast(x) - module(x)).abs().max()
        print(
            f"batch {batch}: PyTorch {milliseconds(module, x):.3f} ms, "
            f"compiled {milliseconds(fast, x):.3f} ms, difference {error:.1e}"
        )
        assert error < 1e-4

    module.classify.bias.add_(1)  # a changed weight is seen at the next call
    assert torch.allclose(fast(images), module(images), atol=1e-4)

    # Installed, torch.compile(module, backend="mlcnn") finds it by its name.
    traced = torch.compile(module, backend=backend, options={"threads": 1})
    assert torch.allclose(traced(images), module(images), atol=1e-4)
    print("torch.compile gives the same")
