"""The dominated volume against cells that are looked at one by one."""

import itertools
import math

import numpy as np
import pytest

from mlcnn.codesign.exploration.hypervolume import hypervolume, reference_behind
from mlcnn.errors import InputError


def by_cells(values, reference):
    """Sum of the cells between all coordinates that some design is at least as good as."""
    values, reference = np.log(values), np.log(reference)
    columns = zip(values.T, reference, strict=True)
    edges = [sorted({*column[column < end], end}) for column, end in columns]
    volume = 0.0
    for cell in itertools.product(*(itertools.pairwise(edge) for edge in edges)):
        low = [a for a, _ in cell]
        if (values <= low).all(1).any():
            volume += math.prod(b - a for a, b in cell)
    return volume


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_volume_is_that_of_all_dominated_cells(objectives, seed):
    generator = np.random.default_rng(seed)
    values = np.exp(generator.normal(0.0, 3.0, (12, objectives)))
    reference = np.exp(generator.normal(2.0, 1.0, objectives))  # some designs are behind it
    assert hypervolume(values, reference) == pytest.approx(by_cells(values, reference), rel=1e-12)


def test_units_do_not_matter_and_beaten_designs_add_nothing():
    values, reference = np.array([[2.0, 30.0, 5.0], [4.0, 10.0, 6.0]]), np.array([8.0, 40.0, 9.0])
    volume = hypervolume(values, reference)
    units = np.array([1e-3, 1e12, 7.0])
    assert hypervolume(values * units, reference * units) == pytest.approx(volume, rel=1e-12)
    assert hypervolume([*values, [4.0, 31.0, 6.0]], reference) == pytest.approx(volume, rel=1e-12)
    assert hypervolume([[9.0, 1.0, 1.0]], reference) == 0.0


def test_reference_is_behind_every_design():
    front = [[1.0, 50.0], [4.0, 20.0]]
    assert reference_behind(front) == pytest.approx([4.4, 55.0])
    assert hypervolume(front[:1], reference_behind(front)) > 0


def test_wrong_input_is_told():
    cases = {
        "a reference point of 3 objectives for designs of 2; give a value of each objective": (
            [[1, 2]],
            [3, 3, 3],
        ),
        "objectives from 0 to 1; they are compared by their logarithms, so they must be positive "
        "and finite": ([[1, 0]], [3, 3]),
        "objectives of shape (0,); (designs, objectives) with at least one of each are required": (
            [],
            [3, 3],
        ),
    }
    for message, (values, reference) in cases.items():
        with pytest.raises(InputError) as told:
            hypervolume(values, reference)
        assert str(told.value) == message
