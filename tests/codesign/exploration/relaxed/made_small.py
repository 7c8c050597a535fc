"""Two small layers on small Gemminis, relaxed: what tests of the gradient search share."""

import numpy as np
import torch
from codesign.exploration.made_up import GROUPS, QUICK

from mlcnn.codesign.exploration import Quantity, load_template
from mlcnn.codesign.exploration.relaxed.layers import LayerStack
from mlcnn.codesign.exploration.relaxed.search import Relaxation, Target


def relaxation(groups=GROUPS, name="gemmini", ranges=QUICK):
    space = load_template(name).space(ranges=ranges)
    architecture = space.template.architecture
    layers = LayerStack(groups, architecture, dtype=torch.float64, device="cpu")
    return Relaxation(layers, space)


def target(starts, quantity=Quantity.EDP, **most):
    """One quantity made small under bounds on others."""
    every = list(Quantity)
    weights = torch.zeros(starts, len(every), dtype=torch.float64)
    bounds = torch.full_like(weights, torch.inf)
    weights[:, every.index(quantity)] = 1.0
    for name, value in most.items():
        bounds[:, every.index(Quantity(name))] = np.log(value)
    return Target(weights, bounds)


def begun(problem, starts, seed=0):
    """Random factors on random sizes, each with an option of its own."""
    generator = torch.Generator().manual_seed(seed)
    layers = problem.layers
    part = torch.rand(starts, len(problem.low), generator=generator, dtype=torch.float64)
    logits = torch.randn(starts, *layers.free.shape, generator=generator, dtype=torch.float64)
    options = (torch.arange(starts) % layers.options)[:, None].repeat(1, len(layers.counts))
    return problem.begun(problem.low + (problem.high - problem.low) * part, logits, options)
