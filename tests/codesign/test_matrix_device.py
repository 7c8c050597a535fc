"""The scorer with gradients on a GPU beside numpy's; where there is none, this is skipped."""

import pytest
import torch
from codesign.random_machines import random_case

from mlcnn.codesign import EXACT_BOX, score
from mlcnn.codesign.matrix import Hardware, MatrixForm, OrderClass, log_factors, matrix_score

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_a_gpu_counts_what_numpy_counts(dtype, near):
    for seed in range(60):
        machine, nest, mapping, batch = random_case(seed)
        expected = score(nest, machine, batch, EXACT_BOX)
        form = MatrixForm.of(nest, batch.keep, OrderClass.of(mapping))
        x = log_factors(batch, dtype=dtype, device="cuda")
        hardware = Hardware.of(machine, dtype=dtype, device="cuda")
        found = matrix_score(form, x, hardware, whole=True)
        assert found.energy_pj.device.type == "cuda"
        assert found.energy_pj.item() == pytest.approx(expected.energy_pj[0], rel=near), seed
        assert found.latency_cycles.item() == pytest.approx(expected.latency_cycles[0], rel=near), (
            seed
        )


def test_gradients_hold_on_a_gpu():
    machine, nest, mapping, batch = random_case(3)
    form = MatrixForm.of(nest, batch.keep, OrderClass.of(mapping))
    hardware = Hardware.of(machine, device="cuda")
    x = (log_factors(batch, device="cuda") + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: matrix_score(form, x, hardware).energy_pj.log(), x)
