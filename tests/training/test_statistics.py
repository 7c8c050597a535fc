"""Re-estimated statistics are the means and variances of what reaches each norm."""

import numpy as np
import torch
from torch import nn
from training.toy import NORMAL, toy_images, toy_module

from mlcnn.training import reestimate


def test_statistics_are_those_of_the_images():
    module, images = toy_module(), toy_images(200)
    momentum = module[1].momentum
    assert reestimate(module, images, NORMAL) == 1
    with torch.no_grad():
        reaching = module[0](torch.from_numpy(NORMAL.apply(images.images))).double()
    values = reaching.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(module[1].running_mean, values.mean(1), rtol=1e-4)
    np.testing.assert_allclose(module[1].running_var, values.var(1, ddof=1), rtol=1e-4)
    assert module[1].momentum == momentum
    assert not any(part.training for part in module.modules())


def test_nothing_else_changes():
    module, images = toy_module(), toy_images(40)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    reestimate(module, images, NORMAL)
    changed = {k for k, v in module.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert reestimate(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), images, NORMAL) == 0
