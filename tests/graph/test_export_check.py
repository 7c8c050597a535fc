"""An export is compared with its module: what the exporter drops is said or refused."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.export import Dim

from mlcnn.errors import InputError
from mlcnn.graph import from_module, load_program, to_proto

CASES = {
    "plain": {"kernel_size": 2},
    "ceil": {"kernel_size": 2, "ceil_mode": True},
    "padded": {"kernel_size": 2, "padding": 1},
    "padded ceil": {"kernel_size": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "rectangular": {"kernel_size": (2, 3), "stride": (3, 1), "padding": (0, 1)},
}


def _difference(module: nn.Module, model, example: torch.Tensor) -> float:
    session = ort.InferenceSession(to_proto(model).SerializeToString())
    (found,) = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    with torch.no_grad():
        expected = module(example).numpy()
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("case", CASES)
def test_divisors_of_average_pools_survive(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pool = nn.AvgPool2d(divisor_override=3, **CASES[case])
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool, nn.ReLU()).eval()
    example = torch.randn(2, 3, 9, 9)
    assert _difference(module, from_module(module, (example,)), example) < 1e-5
    torch.export.save(torch.export.export(module, (example,)), tmp_path / "net.pt2")
    assert _difference(module, load_program(tmp_path / "net.pt2"), example) < 1e-5


def test_three_dimensions() -> None:
    module, example = nn.AvgPool3d(2, divisor_override=5).eval(), torch.randn(2, 2, 4, 4, 4)
    assert _difference(module, from_module(module, (example,)), example) < 1e-5


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A program whose divisor cannot be said otherwise: its windows hang over a dynamic end."""
    torch.manual_seed(0)
    pool = nn.AvgPool2d(2, divisor_override=3, ceil_mode=True)
    module = nn.Sequential(nn.Conv2d(3, 3, 3), pool)
    sizes = ({2: Dim.AUTO, 3: Dim.AUTO},)
    program = torch.export.export(module, (torch.randn(2, 3, 9, 9),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def test_what_is_lost_is_refused_with_the_first_node(lost: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_program(lost)
    assert str(caught.value).startswith(
        f"{lost}: PyTorch's exporter to ONNX does not keep what the module computes: on the "
        "example input, "
    )
    assert "they part at 1 (AveragePool)" in str(caught.value)


def test_an_example_of_zeros_hides_nothing() -> None:
    """Zeros in, and a convolution without bias: any factor would look right."""
    module = nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), nn.AvgPool2d(2, divisor_override=3))
    example = torch.zeros(1, 3, 9, 9)
    model = from_module(module.eval(), (example,))
    assert _difference(module, model, torch.randn(1, 3, 9, 9)) < 1e-5


def test_a_random_module_is_not_compared() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    assert [node.op_type for node in from_module(Noisy(), (torch.randn(2, 3),)).graph]
