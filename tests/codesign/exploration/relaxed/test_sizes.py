"""Machines as tensors of a template's parameters, against the machines themselves."""

import numpy as np
import pytest
import torch

from mlcnn.codesign.exploration import load_template
from mlcnn.codesign.exploration.relaxed.sizes import hardware_of
from mlcnn.codesign.matrix import Hardware
from mlcnn.codesign.timeloop.expression import evaluate, evaluate_smooth
from mlcnn.errors import InputError


@pytest.mark.parametrize("name", ["gemmini", "eyeriss"])
def test_sizes_are_those_of_the_machine(name):
    space = load_template(name).space()
    generator = np.random.default_rng(0)
    designs = [list(space)[n] for n in generator.choice(len(space), 20, replace=False)]
    rows = [space.values(design) for design in designs]
    values = {key: torch.tensor([row[key] for row in rows], dtype=torch.float64) for key in rows[0]}
    found = hardware_of(space.template, values)
    areas = found.area_um2()
    for row, design in enumerate(designs):
        machine = space.architecture(design)
        expected = Hardware.of(machine)
        for field in ("shared", "own", "fan_out", "bandwidth"):
            assert torch.equal(getattr(found, field)[row], getattr(expected, field)), field
        assert (areas is None) == (machine.area_um2 is None)
        if areas is not None:
            assert areas[row].item() == pytest.approx(machine.area_um2, rel=1e-12)


def test_areas_have_gradients():
    space = load_template("gemmini").space()
    logs = torch.tensor([[2.5, 4.0, 3.0]], dtype=torch.float64, requires_grad=True)

    def area(logs):
        names = [one.name for one in space.parameters]
        values = {name: logs[:, n].exp() for n, name in enumerate(names)}
        return hardware_of(space.template, values).area_um2().log()

    assert torch.autograd.gradcheck(area, (logs,))


@pytest.mark.parametrize("text", ["1024 * kb", "-(kb + 2) / pe", "+kb ** 2 - 3", "7"])
def test_expressions_over_tensors(text):
    names = {"kb": 24.0, "pe": 8.0}
    tensors = {name: torch.tensor(value) for name, value in names.items()}
    assert float(evaluate_smooth(text, tensors)) == evaluate(text, names)


def test_quotients_are_not_rounded():
    value = torch.tensor(7.0, requires_grad=True)
    evaluate_smooth("kb // 2", {"kb": value}).backward()
    assert value.grad.item() == 0.5


def test_what_is_no_arithmetic_is_told():
    with pytest.raises(InputError) as told:
        evaluate_smooth("kb.real", {"kb": torch.tensor(1.0)})
    assert str(told.value) == (
        "'kb.real' in 'kb.real': an expression is numbers and known names with + - * / // % ** and "
        "brackets"
    )
