"""Teacher, penalty, phases, parameter groups and masks."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training.toy import NORMAL, RECIPE, toy_images, toy_module, train

from mlcnn.errors import InputError
from mlcnn.training import (
    Group,
    Groups,
    Hardware,
    Hook,
    Masks,
    Optimizer,
    Penalty,
    Phase,
    Phases,
    Step,
    Teacher,
)

PLAIN = replace(RECIPE, crop=0, flip=False, epochs=2)


class Counting(nn.Module):
    """A teacher that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 3)
        self.asked = 0

    def forward(self, x):
        self.asked += len(x)
        assert not torch.is_grad_enabled()
        assert not self.training
        return self.layer(x.flatten(1))


def test_a_teacher_is_asked_once_for_each_image_where_images_stay_the_same():
    teacher = Counting()
    train(toy_module(), toy_images(60), PLAIN, hooks=[Teacher(teacher)])
    assert teacher.asked == 60
    augmented = Counting()
    train(toy_module(), toy_images(60), replace(PLAIN, crop=1), hooks=[Teacher(augmented)])
    assert augmented.asked == 120
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_what_a_teacher_adds_is_the_divergence_of_its_definition():
    torch.manual_seed(0)
    said, logits = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    teacher = Teacher(nn.Identity(), weight=0.7, temperature=3.0)
    teacher.start(nn.Identity(), 5, Hardware())
    step = Step(nn.Identity(), said, torch.arange(5), logits, augmented=True, share=1 / 5)
    p, q = (said / 3).softmax(1), (logits / 3).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    expected = 0.3 * 2.0 + 0.7 * 9 * divergence
    torch.testing.assert_close(teacher.loss(step, torch.tensor(2.0)), expected)


def test_a_student_learns_from_its_teacher_alone():
    teacher, student = toy_module(1), toy_module(2)
    train(teacher, toy_images(), replace(RECIPE, epochs=20))
    wrong = toy_images()
    wrong.labels[:] = (wrong.labels + 1) % 3  # labels do not count at weight 1
    hook = Teacher(teacher, weight=1.0)
    train(student, wrong, replace(RECIPE, epochs=20), hooks=[hook])
    pixels = torch.from_numpy(NORMAL.apply(toy_images().images))
    agree = student(pixels).argmax(1) == teacher(pixels).argmax(1)
    assert agree.float().mean() > 0.9


def test_the_gradient_of_a_penalty_is_that_of_autograd():
    """The loss has the penalty's gradient and no more: without another one, it is all there is."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False)).double()
    weight = module[1].weight
    penalty = Penalty(lambda m: m[1].weight.pow(4).sum(), weight=0.3)
    logits = torch.zeros(1, 3)
    step = Step(module, torch.zeros(1, 36), torch.zeros(1), logits, augmented=True, share=1.0)

    def added(values):
        with torch.no_grad():
            weight.copy_(values)
        return penalty.loss(step, torch.tensor(0.0, dtype=torch.float64))

    added(weight.detach().clone()).backward()
    torch.testing.assert_close(weight.grad, 0.3 * 4 * weight.detach() ** 3)
    before = weight.detach().clone()
    moved = before.clone()
    moved[0, 0] += 1e-5
    slope = float((added(moved) - added(before)).detach()) / 1e-5
    assert slope == pytest.approx(float(weight.grad[0, 0]), rel=1e-3, abs=1e-8)


def test_a_penalty_makes_weights_smaller():
    sizes = []
    for weight in (0.0, 0.5):
        module = toy_module()
        hook = Penalty(lambda m: m[0].weight.abs().sum(), weight)
        train(module, toy_images(), PLAIN, hooks=[hook])
        sizes.append(float(module[0].weight.detach().abs().sum()))
    assert sizes[1] < sizes[0] / 2


def test_a_penalty_may_end():
    module, seen = toy_module(), []

    def size(module):
        seen.append(1)
        return module[0].weight.abs().sum()

    train(module, toy_images(), PLAIN, hooks=[Penalty(size, 0.5, until=0.5)])
    assert len(seen) == 2  # of the 4 steps of the first epoch


def test_phases_alternate_as_declared():
    phases = Phases((Phase(1, ("0.*",)), Phase(2, ("5.*", "1.*"))))
    assert [phases.at(epoch).trained[0] for epoch in range(7)] == [
        "0.*", "5.*", "5.*", "0.*", "5.*", "5.*", "0.*",
    ]  # fmt: skip
    seen = []

    class Watch(Hook):
        def gradients(self, module):
            seen.append({n for n, p in module.named_parameters() if p.grad is not None})

    states = []

    def keep(history):
        states.append({n: p.detach().clone() for n, p in module.named_parameters()})

    module = toy_module()
    recipe = replace(RECIPE, epochs=3, batch_size=60, weight_decay=0.1)
    train(module, toy_images(), recipe, hooks=[phases, Watch()], progress=keep)
    first, second = {"0.weight", "0.bias"}, {"1.weight", "1.bias", "5.weight", "5.bias"}
    assert seen == [first, second, second]
    for name in first:  # rest: no momentum and no decay moves them
        assert torch.equal(states[0][name], states[2][name])
    for name in second:
        assert not torch.equal(states[0][name], states[2][name])


def test_phases_of_a_few_steps_end_where_they_should():
    phases = Phases((Phase(0.5, resting=("0.*",)), Phase(0.75, resting=("5.*",))), until=2.0)
    seen = []

    class Watch(Hook):
        def gradients(self, module):
            seen.append("".join(n[0] for n, p in module.named_parameters() if p.grad is None))

    train(toy_module(), toy_images(), replace(RECIPE, epochs=3), hooks=[phases, Watch()])
    assert seen == ["00", "00", "55", "55", "55", "00", "00", "55", *["" for _ in range(4)]]


def test_a_phase_lasts_at_least_a_step():
    """Of those between two steps it would be chance which is met: here, always the first."""
    phases = Phases((Phase(0.125, ("0.*",)), Phase(0.125, ("5.*",))))
    steps = [position / 4 for position in range(8)]
    assert len({phases.at(position).trained for position in steps}) == 1
    assert [phases.at(position, 0.25).trained[0][0] for position in steps] == ["0", "5"] * 4


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_masked_weights_stay_zero(optimizer):
    generator = torch.Generator().manual_seed(0)
    module = toy_module()
    mask = (torch.rand(module[5].weight.shape, generator=generator) < 0.5).float()
    recipe = replace(RECIPE, optimizer=optimizer, weight_decay=0.1, momentum=0.9)
    seen = []

    class Watch(Hook):
        def gradients(self, module):
            seen.append(bool((module[5].weight[mask == 0] == 0).all()))

    train(module, toy_images(), recipe, hooks=[Masks({"5.weight": mask}), Watch()])
    assert all(seen)
    assert (module[5].weight[mask == 0] == 0).all()
    assert (module[5].weight[mask == 1] != 0).all()


def test_parameter_groups_have_their_own_rate_and_decay():
    module = toy_module()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    groups = Groups((Group(("0.*",), rate=0.0), Group(("*.bias",), weight_decay=0.0)))
    recipe = replace(PLAIN, weight_decay=0.5)
    train(module, toy_images(), recipe, hooks=[groups])
    for name, parameter in module.named_parameters():
        assert torch.equal(before[name], parameter.detach()) == name.startswith("0."), name


def test_the_decay_of_a_group_replaces_the_recipes():
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        module[1].bias.fill_(1.0)
    groups = Groups((Group(("*.bias",), weight_decay=0.0),))
    recipe = replace(PLAIN, epochs=1, batch_size=60, learning_rate=0.1, momentum=0.5,
                     nesterov=False, weight_decay=0.5)  # fmt: skip
    pixels = torch.from_numpy(NORMAL.apply(toy_images().images))
    labels = torch.from_numpy(toy_images().labels)
    loss = F.cross_entropy(module(pixels), labels)
    weight, bias = torch.autograd.grad(loss, list(module.parameters()))
    expected = [
        module[1].weight.detach() * (1 - 0.1 * 0.5) - 0.1 * weight,
        module[1].bias.detach() - 0.1 * bias,
    ]
    train(module, toy_images(), recipe, hooks=[groups])
    for parameter, value in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (Groups((Group(("conv9.*",)),)), r"parameter group 'conv9\.\*': the network has no param"),
        (Phases((Phase(1, ("conv9.*",)),)), r"phase 'conv9\.\*': the network has no parameter of"),
        (Masks({"5.weight": torch.ones(2)}), "mask of '5.weight': the network has no parameter"),
    ],
)
def test_what_names_nothing_is_refused(hook, message):
    with pytest.raises(InputError, match=message):
        train(toy_module(), toy_images(), PLAIN, hooks=[hook])
