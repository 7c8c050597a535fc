"""Sizes and mappings of many starts moved together, by Adam under an augmented Lagrangian.

With the orders fixed, counts are sums of products of factors and sizes (but for the halos that
stay), and so are memories, areas and energies of an access: in logarithms all of these are convex,
and so are what is made small and its bounds. So the starts differ in their orders, in what levels
keep, and, of several objectives, in their bounds; sizes alone would need few of them.

    minimise log f(sizes, factors) + sum (max(lambda + mu g, 0)^2 - lambda^2) / (2 mu)

over the constraints g <= 0; every few steps ``lambda = max(lambda + mu g, 0)`` (Nocedal and Wright,
Numerical Optimization, 2006, section 17.3), and each layer of each start takes the option (orders,
what is kept) that is best at its factors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mlcnn.codesign.exploration.quantities import Quantity
from mlcnn.codesign.exploration.relaxed.layers import LayerStack
from mlcnn.codesign.exploration.relaxed.network import LayerCosts, layer_costs, quantities
from mlcnn.codesign.exploration.relaxed.sizes import hardware_of
from mlcnn.codesign.exploration.template import Space
from mlcnn.codesign.matrix import Hardware
from mlcnn.codesign.matrix.stack import Arrangement

_MEAN, _SQUARE, _TINY = 0.9, 0.99, 1e-12

__all__ = ["Pace", "Relaxation", "Starts", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What each start makes small, and its bounds.

    Attributes:
        weights: of the logarithms of the quantities, shape (starts, quantities).
        most: logarithms of the bounds, infinite where there is none; that shape.
    """

    weights: Tensor
    most: Tensor

    def at(self, numbers: Tensor) -> "Target":
        """Those of some starts."""
        return Target(self.weights[numbers], self.most[numbers])


@dataclass(frozen=True, slots=True)
class Starts:
    """Where starts are; tensors with (starts,) in front.

    Attributes:
        sizes: logarithms of the template's parameters, shape (starts, parameters).
        logits: of factors, shape (starts, layers, levels, 2, dims).
        options: of each layer, shape (starts, layers).
        prices: multipliers of the constraints, shape (starts, constraints).
        worth: what is made small, with what missed bounds cost, shape (starts,).
    """

    sizes: Tensor
    logits: Tensor
    options: Tensor
    prices: Tensor
    worth: Tensor

    def at(self, numbers: Tensor) -> "Starts":
        """Some of them."""
        return Starts(
            self.sizes[numbers], self.logits[numbers], self.options[numbers],
            self.prices[numbers], self.worth[numbers],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """How starts move.

    Attributes:
        steps: how many.
        first: length of the first step in logits.
        last: of the last.
        sizes: of a step in sizes, by one in logits; 0 where sizes stay.
        every: steps between two choices of options and multipliers.
        penalty: mu.
        free: 1 for each start and parameter that moves, 0 where it stays.
        apart: steps before options are chosen and mappings exchanged.
    """

    steps: int
    first: float
    last: float
    sizes: float
    every: int
    penalty: float
    free: Tensor
    apart: int = 0

    def length(self, step: int) -> float:
        """Of a step: a falling cosine."""
        part = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.last + (self.first - self.last) * part


class Relaxation:
    """The relaxed problem of a network on the machines of a space.

    Args:
        layers: the network's.
        space: the machines.
    """

    def __init__(self, layers: LayerStack, space: Space) -> None:
        self.layers, self.space = layers, space
        self.like = layers.stack.like
        ends = [(math.log(one.values[0]), math.log(one.values[-1])) for one in space.parameters]
        self.low, self.high = torch.tensor(ends).to(self.like).T

    def hardware(self, sizes: Tensor) -> Hardware:
        """The machines of some sizes, shape (starts, parameters)."""
        names = [one.name for one in self.space.parameters]
        values = {name: sizes[:, number].exp() for number, name in enumerate(names)}
        return hardware_of(self.space.template, values)

    def arranged(self, options: Tensor) -> Arrangement:
        """The forms of options, shape (starts, layers)."""
        chosen = options.cpu().numpy()
        return self.layers.stack.arranged(
            self.layers.form[np.arange(chosen.shape[1]), chosen].reshape(-1)
        )

    def costs(self, sizes: Tensor, logits: Tensor, arrangement: Arrangement) -> LayerCosts:
        """Of all layers."""
        x = self.layers.factors(logits)
        return layer_costs(self.layers, x, arrangement, self.hardware(sizes))

    def constraints(self, sizes: Tensor, costs: LayerCosts, target: Target) -> tuple[Tensor, Tensor]:
        """What is made small, shape (starts,), and all constraints, shape (starts, constraints)."""
        energy = (costs.energy_pj * self.layers.counts).sum(1)
        latency = (costs.latency_cycles * self.layers.counts).sum(1)
        return self._constraints(energy, latency, sizes, costs.excess, target)

    def _constraints(
        self, energy: Tensor, latency: Tensor, sizes: Tensor, excess: Tensor, target: Target
    ) -> tuple[Tensor, Tensor]:
        area = self.hardware(sizes).area_um2()
        values = quantities(energy, latency, area, self.space.template.architecture.clock_mhz)
        bounded = torch.isfinite(target.most)
        over = torch.where(bounded, values - torch.where(bounded, target.most, 0.0), -1.0)
        return (values * target.weights).sum(1), torch.cat([over, excess.flatten(1)], 1)

    def moved(self, starts: Starts, target: Target, pace: Pace) -> Starts:
        """Starts after some steps of Adam (Kingma and Ba, ICLR 2015).

        Args:
            starts: from where.
            target: what each makes small.
            pace: how.
        """
        now, arrangement = starts, self.arranged(starts.options)
        moments = Moments.none(starts)
        for step in range(pace.steps):
            if step % pace.every == 0:
                now = self._raised(now, target, pace.penalty) if step else now
                if step >= pace.apart:
                    now, moments = self._chosen(now, moments, target, pace.penalty)
                    arrangement = self.arranged(now.options)
            slopes = self._slopes(now, target, arrangement, pace)
            ahead, moments = moments.after(slopes, step + 1)
            length = pace.length(step)
            sizes = now.sizes - length * pace.sizes * ahead[0] * pace.free
            sizes = torch.minimum(torch.maximum(sizes, self.low), self.high)
            now = replace(now, sizes=sizes, logits=now.logits - length * ahead[1])
        with torch.no_grad():
            worth = self.worth(now, target, arrangement, pace.penalty)
        return replace(now, worth=worth)

    def _slopes(
        self, starts: Starts, target: Target, arrangement: Arrangement, pace: Pace
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the Lagrangian by sizes and logits."""
        moving = starts.logits.clone().requires_grad_(), starts.sizes.clone().requires_grad_()
        now = replace(starts, logits=moving[0], sizes=moving[1])
        total = self.worth(now, target, arrangement, pace.penalty).sum()
        logits, sizes = torch.autograd.grad(total, moving)
        return sizes, logits

    def worth(
        self, starts: Starts, target: Target, arrangement: Arrangement, penalty: float
    ) -> Tensor:
        """The augmented Lagrangian of each start, shape (starts,)."""
        costs = self.costs(starts.sizes, starts.logits, arrangement)
        value, over = self.constraints(starts.sizes, costs, target)
        return value + _missed(over, starts.prices, penalty).sum(1)

    @torch.no_grad()
    def _raised(self, starts: Starts, target: Target, penalty: float) -> Starts:
        """New multipliers."""
        costs = self.costs(starts.sizes, starts.logits, self.arranged(starts.options))
        _, over = self.constraints(starts.sizes, costs, target)
        return replace(starts, prices=torch.relu(starts.prices + penalty * over))

    @torch.no_grad()
    def _chosen(
        self, starts: Starts, moments: "Moments", target: Target, penalty: float
    ) -> tuple[Starts, "Moments"]:
        """For each layer the best option, and the mapping of another start where that is better."""
        costs = self.costs(starts.sizes, starts.logits, self.arranged(starts.options))
        layer_worth = self._layer_worth(starts, costs, target, penalty)
        every = [torch.full_like(starts.options, one) for one in range(self.layers.options)]
        worth = torch.stack([layer_worth(starts.logits, one) for one in every])
        least, options = worth.min(0)
        best, taken = least, torch.arange(len(least), device=least.device)[:, None]
        taken = taken.expand_as(least)
        for shift in range(1, len(least)):
            there = taken_from = torch.roll(torch.arange(len(least)), shift)
            other = layer_worth(starts.logits[there], options[there])
            better = other < best
            best = torch.where(better, other, best)
            taken = torch.where(better, taken_from[:, None].to(taken), taken)
        layer = torch.arange(taken.shape[1], device=taken.device)
        now = replace(starts, logits=starts.logits[taken, layer], options=options[taken, layer])
        return now, moments.at(taken, layer)

    def _layer_worth(
        self, starts: Starts, costs: LayerCosts, target: Target, penalty: float
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The Lagrangian as a sum over layers, to first order in their costs.

        Returns:
            What other logits and options come to on each start's machine, shape (starts, layers).
        """
        counts = self.layers.counts
        energy, latency = (
            (one * counts).sum(1).requires_grad_() for one in (costs.energy_pj, costs.latency_cycles)
        )
        with torch.enable_grad():
            value, over = self._constraints(energy, latency, starts.sizes, costs.excess, target)
            total = value + _missed(over, starts.prices, penalty).sum(1)
            slopes = torch.autograd.grad(total.sum(), (energy, latency))
        prices = starts.prices[:, len(Quantity) :].unflatten(1, (len(counts), -1))

        def worth(logits: Tensor, options: Tensor) -> Tensor:
            other = self.costs(starts.sizes, logits, self.arranged(options))
            weighted = slopes[0][:, None] * other.energy_pj + slopes[1][:, None] * other.latency_cycles
            return counts * weighted + _missed(other.excess, prices, penalty).sum(2)

        return worth


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's means of gradients and of their squares, of sizes and of logits."""

    means: tuple[Tensor, Tensor]
    squares: tuple[Tensor, Tensor]

    @classmethod
    def none(cls, starts: Starts) -> "Moments":
        """Those of no step."""
        zeros = torch.zeros_like(starts.sizes), torch.zeros_like(starts.logits)
        return cls(zeros, zeros)

    def after(
        self, slopes: tuple[Tensor, Tensor], step: int
    ) -> tuple[tuple[Tensor, Tensor], "Moments"]:
        """The directions of a step, counted from 1, and the moments behind it."""
        means = [_mixed(one, slope, _MEAN) for one, slope in zip(self.means, slopes, strict=True)]
        squares = [
            _mixed(one, slope**2, _SQUARE) for one, slope in zip(self.squares, slopes, strict=True)
        ]
        ahead = [
            mean / (1 - _MEAN**step) / ((square / (1 - _SQUARE**step)).sqrt() + _TINY)
            for mean, square in zip(means, squares, strict=True)
        ]
        return (ahead[0], ahead[1]), Moments((means[0], means[1]), (squares[0], squares[1]))

    def at(self, taken: Tensor, layer: Tensor) -> "Moments":
        """With the logits' of the starts that layers are taken from."""
        return Moments(
            (self.means[0], self.means[1][taken, layer]),
            (self.squares[0], self.squares[1][taken, layer]),
        )


def _mixed(one: Tensor, other: Tensor, share: float) -> Tensor:
    return share * one + (1 - share) * other


def _missed(over: Tensor, prices: Tensor, penalty: float) -> Tensor:
    """What constraints cost, each."""
    return (torch.relu(prices + penalty * over) ** 2 - prices**2) / (2.0 * penalty)
