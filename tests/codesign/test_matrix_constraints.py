"""What a mapping misses of a machine, as the scorer with gradients tells it; and bad arguments."""

import numpy as np
import pytest
import torch
from codesign.random_machines import random_case
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.codesign import EXACT_BOX, fits, load_architecture
from mlcnn.codesign.matrix import (
    Hardware,
    MatrixForm,
    OrderClass,
    log_factors,
    matrix_counts,
    matrix_score,
    violations,
)
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest

_NEST = loop_nest(ConvLayer("c", 2, 8, 6, 13, 13, 3, 3, strides=(2, 1), dilations=(1, 2)))


def test_nothing_is_violated_exactly_where_a_mapping_fits():
    fitting = 0
    for seed in range(200):
        machine, nest, mapping, batch = random_case(seed, 64)
        form, x, hardware = (
            MatrixForm.of(nest, batch.keep, OrderClass.of(mapping)),
            log_factors(batch),
            Hardware.of(machine),
        )
        found = violations(form, x, hardware, matrix_counts(form, x))
        expected = bool(fits(nest, machine, batch, EXACT_BOX)[0])
        assert (found.total.item() < 1e-9) == expected, seed
        fitting += expected
    assert 10 < fitting < 190


@given(st.floats(1.0, 4.0), st.floats(0.5, 0.99))
def test_violations_tell_by_how_much(factor, part):
    machine = load_architecture("gemmini")
    nest = loop_nest(ConvLayer("dense", 1, 64, 8, 1, 1, 1, 1))
    form = MatrixForm.of(nest, np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]], bool),
                         OrderClass((("K",), (), ("C",), ())))  # fmt: skip
    x = torch.zeros(1, *form.shape, dtype=torch.float64)
    x[0, 1, 1, 1], x[0, 1, 1, 2] = np.log(16 * factor), np.log(1.5)
    x[0, 0, 0, 1], x[0, 2, 0, 2] = np.log(4 / factor), np.log(8 / 1.5)
    x[0, 3, 0, 4] = np.log(part)
    found = violations(form, x, Hardware.of(machine), matrix_counts(form, x))
    assert found.fan_out[0, 1].item() == pytest.approx(np.log(factor * 1.5))
    assert found.misplaced[0].tolist() == pytest.approx([0, np.log(1.5), 0, 0])
    assert found.remainder[0, :3].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert found.below_one.item() == pytest.approx(-np.log(part))


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ((("K",),), "a class of orders of 1 levels, and there are 2"),
        ((("K", "X"), ()), "class of orders: level 0 has a loop over X, and c has N K C P Q R S"),
    ],
)
def test_classes_of_other_nests_are_told(orders, message):
    with pytest.raises(InputError) as told:
        MatrixForm.of(_NEST, np.ones((2, 3), bool), OrderClass(orders))
    assert str(told.value) == message


def test_a_dimension_twice_in_a_level_is_told():
    with pytest.raises(InputError) as told:
        OrderClass((("K", "C", "K"),))
    assert str(told.value) == (
        "class of orders: a dimension stands twice in level 0: K C K; name each once"
    )


def test_a_mask_without_the_outermost_is_told():
    with pytest.raises(InputError) as told:
        MatrixForm.of(_NEST, np.zeros((2, 3), bool), OrderClass(((), ())))
    assert str(told.value) == (
        "what is kept must be of shape (levels, 3), the outermost level keeping all, got shape "
        "(2, 3)"
    )


def test_factors_of_another_shape_or_type_and_other_machines_are_told():
    form = MatrixForm.of(_NEST, np.ones((2, 3), bool), OrderClass(((), ())))
    wanted = "factors of c must be float32 or float64 of shape (mappings, 2, 2, 7), got "
    for x, given_ in (
        (torch.zeros(1, 2, 7), "torch.float32 of (1, 2, 7)"),
        (torch.zeros(1, 2, 2, 7, dtype=torch.int64), "torch.int64 of (1, 2, 2, 7)"),
    ):
        with pytest.raises(InputError) as told:
            matrix_counts(form, x)
        assert str(told.value) == wanted + given_
    with pytest.raises(InputError) as told:
        matrix_score(form, torch.zeros(1, 2, 2, 7), Hardware.of(load_architecture("gemmini")))
    assert str(told.value) == "architecture gemmini has 4 levels and the mappings have 2"
