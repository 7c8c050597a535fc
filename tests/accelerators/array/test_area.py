"""Area of an array, part by part, and arrays that fill one."""

import math
from dataclasses import fields, replace

import pytest

from mlcnn.accelerators import load_accelerator
from mlcnn.accelerators.array import area, filling
from mlcnn.errors import InfeasibleError


def test_array_area_by_hand(dense, technology):
    """288 multipliers and adders of Horowitz's table."""
    found = area(dense, technology)
    assert found.multipliers == 288 * 7700
    assert found.adders == 288 * 4184
    assert found.total == pytest.approx(
        math.fsum(getattr(found, field.name) for field in fields(found))
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_mlcnn_takes_no_more_area_than_its_baselines(precision, technology):
    mlcnn = area(load_accelerator(f"mlcnn-{precision}"), technology).total
    assert mlcnn <= area(load_accelerator(f"dcnn-{precision}"), technology).total
    assert mlcnn <= area(load_accelerator("dcnn-fp32"), technology).total


@pytest.mark.parametrize("name", ["dcnn-fp32", "mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"])
def test_filling_the_papers_area(name, technology):
    machine = filling(load_accelerator(name), 1.52e6, technology)
    assert area(machine, technology).total <= 1.52e6
    more = replace(machine, slices=machine.slices + 1)
    assert area(more, technology).total > 1.50e6


def test_an_area_too_small_for_one_slice(dense, technology):
    with pytest.raises(InfeasibleError, match="with a single slice"):
        filling(dense, 1e5, technology)
