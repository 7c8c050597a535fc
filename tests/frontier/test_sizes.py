"""What is stored, computed and held, against counting by hand."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from mlcnn.frontier import file_bytes, layer_sizes, layer_times, peak_bytes
from mlcnn.graph import clone, from_module, to_proto


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.line = nn.Linear(4 * 16, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.line((x + self.deep(x)).flatten(1))


def network() -> ir.Model:
    torch.manual_seed(0)
    return from_module(Net().eval(), (torch.zeros(2, 2, 4, 4),))


def with_zeros(model: ir.Model, name: str, count: int) -> ir.Model:
    model = clone(model)
    value = model.graph.initializers[name]
    array = value.const_value.numpy().copy()
    array.reshape(-1)[:count] = 0
    value.const_value = ir.tensor(array, name=name)
    return model


def test_zeros_count_for_nothing():
    whole = {size.name: size for size in layer_sizes(network())}
    assert {n: (s.parameters, s.multiplications) for n, s in whole.items()} == {
        "conv": (4 * 2 * 9 + 4, 4 * 2 * 9 * 16),
        "deep": (4 * 9, 4 * 9 * 16),
        "line": (64 * 3 + 3, 64 * 3),
    }
    for name, zeros, positions in (("conv", 30, 16), ("deep", 9, 16), ("line", 100, 1)):
        found = {s.name: s for s in layer_sizes(with_zeros(network(), f"{name}.weight", zeros))}
        before, after = whole[name], found[name]
        assert after.parameters == before.parameters - zeros
        assert after.stored == before.stored
        assert after.multiplications == pytest.approx(before.multiplications - zeros * positions)
        assert after.dense == before.dense
        assert all(found[other] == whole[other] for other in whole if other != name)


def test_the_most_that_is_needed_at_a_time():
    """The sum reads what the first convolution and the second one made: two maps and its own."""
    model = network()
    weights = sum(v.const_value.nbytes for v in model.graph.initializers.values())
    assert peak_bytes(model) == weights + 3 * 4 * 16 * 4


def test_a_file_has_the_bytes_that_it_has(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(to_proto(network()).SerializeToString())
    assert file_bytes(network()) == path.stat().st_size


def test_layers_are_timed_alone():
    """A layer of half the filters is faster; the time of one that is the same is the same."""

    def build(hidden: int) -> ir.Model:
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, hidden, 3, padding=1),
            nn.ReLU(), nn.Conv2d(hidden, 16, 1),
        )  # fmt: skip
        return from_module(module.eval(), (torch.zeros(2, 32, 28, 28),))

    told: list[tuple[int, int]] = []
    found = layer_times(
        build(64), build(16), ["onnxruntime"], budget_s=0.4, progress=lambda *at: told.append(at)
    )
    assert [time.layer for time in found] == ["0", "2", "4"]
    assert told == [(0, 3), (1, 3), (2, 3)]
    first, second, _ = found
    assert second.speedup.value > 1.8
    assert 0.6 < first.speedup.value < 1.7
    assert second.before_ms / second.after_ms == pytest.approx(second.speedup.value, rel=0.3)
    assert np.isfinite([time.after_ms for time in found]).all()
