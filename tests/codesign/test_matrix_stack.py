"""Forms of many nests as one batch: against the same forms one by one; bad arguments."""

import numpy as np
import pytest
import torch
from codesign.random_machines import random_case

from mlcnn.codesign.matrix import (
    Hardware,
    MatrixForm,
    OrderClass,
    log_factors,
    matrix_score,
)
from mlcnn.codesign.matrix.stack import FormStack
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_DIMS = ("N", "K", "C", "P", "Q", "R", "S", "G")


def drawn(seeds):
    """Cases of machines with two levels."""
    return [case for case in map(random_case, seeds) if len(case[0].levels) == 2]


def spread(x, nest):
    """Factors in the order of all dimensions."""
    wide = torch.zeros(*x.shape[:3], len(_DIMS), dtype=x.dtype)
    wide[..., [_DIMS.index(dim) for dim in nest.dims]] = x
    return wide


def test_many_forms_score_as_each_by_itself():
    cases = drawn(range(200))
    assert len(cases) > 20
    forms = [MatrixForm.of(nest, batch.keep, OrderClass.of(mapping))
             for _, nest, mapping, batch in cases]  # fmt: skip
    stack = FormStack(forms, _DIMS)
    numbers = np.random.default_rng(0).permutation(len(cases))
    x = torch.cat([spread(log_factors(cases[n][3]), cases[n][1]) for n in numbers])
    counts = stack.counts(x, stack.arranged(numbers))
    for row, number in enumerate(numbers):
        machine, _, _, batch = cases[number]
        hardware = Hardware.of(machine)
        alone = matrix_score(forms[number], log_factors(batch), hardware)
        assert torch.allclose(counts.tiles[row], alone.counts.tiles[0], rtol=1e-12, atol=1e-9)
        energy, latency = counts.energy_pj(hardware)[row], counts.latency_cycles(hardware)[row]
        assert energy.item() == pytest.approx(alone.energy_pj.item(), rel=1e-12)
        assert latency.item() == pytest.approx(alone.latency_cycles.item(), rel=1e-12)


def test_factors_that_are_not_free_are_1():
    nest = loop_nest(ConvLayer("c", 1, 8, 4, 9, 9, 3, 3))
    keep = np.ones((2, 3), bool)
    free = np.ones((2, 2, 7), bool)
    free[:, 1] = False  # nothing side by side
    orders = OrderClass((("K", "P"), ("C", "Q", "R", "S")))
    some, every = (MatrixForm.of(nest, keep, orders, one) for one in (free, None))
    assert some.exponents.size < every.exponents.size
    x = torch.rand(5, 2, 2, 7, dtype=torch.float64)
    stack = FormStack([some, every], nest.dims)
    plain = torch.where(torch.as_tensor(free), x, 0.0)
    first = stack.counts(x, stack.arranged(np.zeros(5, np.int64)))
    second = stack.counts(plain, stack.arranged(np.ones(5, np.int64)))
    assert torch.allclose(first.reads, second.reads, rtol=1e-12)
    assert torch.allclose(first.tiles, second.tiles, rtol=1e-12)


def test_forms_of_several_depths_are_told():
    nest = loop_nest(ConvLayer("c", 1, 8, 4, 9, 9, 3, 3))
    forms = [MatrixForm.of(nest, np.ones((n, 3), bool), OrderClass(((),) * n)) for n in (1, 2)]
    with pytest.raises(InputError) as told:
        FormStack(forms, nest.dims)
    assert str(told.value) == "forms of one number of levels are required, and at least one"
