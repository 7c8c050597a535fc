"""Sizes and mappings of many starts moved together, by Adam under an augmented Lagrangian.

With the orders fixed, counts are sums of products of factors and sizes (but for the halos that
stay), and so are memories, areas and energies of an access: in logarithms all of these are convex,
and so are what is made small and its bounds. What is not convex is the choice of options (orders,
and what is kept). So each start begins with an option of its own for all layers; later every layer
takes the option that is best at its factors, or the mapping that another start has found for it:
at given sizes, layers do not depend on each other.

    minimise log f(sizes, factors) + sum of w * (max(p + mu g, 0)^2 - p^2) / (2 mu)

over the constraints g <= 0; every few steps ``p = max(p + mu g, 0)`` (Nocedal and Wright, Numerical
Optimization, 2006, section 17.3). The weight w of a layer's constraints is the layer's share in f,
so that p is an elasticity, which is of the order of 1 for every layer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from mlcnn.codesign.exploration.quantities import Quantity
from mlcnn.codesign.exploration.relaxed.adam import Moments
from mlcnn.codesign.exploration.relaxed.layers import LayerStack
from mlcnn.codesign.exploration.relaxed.network import LayerCosts, layer_costs, quantities
from mlcnn.codesign.exploration.relaxed.sizes import hardware_of, template_of
from mlcnn.codesign.exploration.template import Space
from mlcnn.codesign.matrix import Hardware
from mlcnn.codesign.matrix.stack import Arrangement

__all__ = ["Pace", "Relaxation", "Starts", "Target"]

_MOST_PRICE = 1.5
"""A layer's cost hardly rises faster than what is missing of a memory or a fan-out."""
_MISSED = 10.0
"""Of a bound of the network, in the worth of a start."""
_LEAST_SHARE = 1e-4
_EXCHANGES = 24
"""Starts that each looks at for mappings, itself among them."""
_MOST_AT_ONCE = 512
"""Starts that are scored together, so that memory stays small."""


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
        shares: of each layer in what is made small, that shape.
        prices: of the layers' constraints, shape (starts, layers, constraints).
        bound_prices: of the network's bounds, shape (starts, quantities).
        worth: what is made small, and what it would rise by were what is missed made good, shape
            (starts,).
    """

    sizes: Tensor
    logits: Tensor
    options: Tensor
    shares: Tensor
    prices: Tensor
    bound_prices: Tensor
    worth: Tensor

    def at(self, numbers: Tensor) -> "Starts":
        """Some of them."""
        return Starts(*(getattr(self, one.name)[numbers] for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How starts move.

    Attributes:
        steps: how many.
        first: length of the first step in logits.
        last: of the last.
        sizes: of a step in sizes, by one in logits.
        every: steps between two choices of options and prices.
        penalty: mu.
        apart: steps before options are chosen and mappings go over.
    """

    steps: int
    first: float
    last: float
    sizes: float = 0.3
    every: int = 10
    penalty: float = 4.0
    apart: int = 0

    def length(self, step: int) -> float:
        """Of a step: a falling cosine."""
        part = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.last + (self.first - self.last) * part


@dataclass(frozen=True, slots=True)
class _Value:
    """Of each start.

    Attributes:
        made_small: logarithm, shape (starts,).
        over: logarithms of quantities over their bounds, -1 where there is none; shape (starts,
            quantities).
    """

    made_small: Tensor
    over: Tensor


class Relaxation:
    """The relaxed problem of a network on the machines of a space.

    Args:
        layers: the network's.
        space: the machines.
    """

    def __init__(self, layers: LayerStack, space: Space) -> None:
        self.layers, self.space = layers, space
        ends = [(math.log(one.values[0]), math.log(one.values[-1])) for one in space.parameters]
        self.low, self.high = torch.tensor(ends).to(layers.stack.like).T

    def begun(self, sizes: Tensor, logits: Tensor, options: Tensor) -> Starts:
        """Starts that have not moved yet.

        Args:
            sizes: see ``Starts``.
            logits: likewise.
            options: likewise.
        """
        with torch.no_grad():
            excess = self.costs(sizes, logits, self.arranged(options)).excess
        bounds = sizes.new_zeros(len(sizes), len(Quantity))
        worth, shares = torch.zeros_like(sizes[:, 0]), torch.ones_like(excess[..., 0])
        none = torch.zeros_like(excess)
        return Starts(sizes, logits, options, shares, none, bounds, worth)

    def hardware(self, sizes: Tensor) -> Hardware:
        """The machines of some sizes, shape (starts, parameters)."""
        names = [one.name for one in self.space.parameters]
        values = {name: sizes[:, number].exp() for number, name in enumerate(names)}
        return hardware_of(template_of(self.space), values)

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

    def sums(self, costs: LayerCosts) -> tuple[Tensor, Tensor]:
        """Energy and latency of all layers, each of shape (starts,)."""
        counts = self.layers.counts
        return (costs.energy_pj * counts).sum(1), (costs.latency_cycles * counts).sum(1)

    def lagrangian(
        self, starts: Starts, target: Target, arrangement: Arrangement, penalty: float
    ) -> Tensor:
        """The augmented Lagrangian of each start, shape (starts,)."""
        costs = self.costs(starts.sizes, starts.logits, arrangement)
        value = self._value(*self.sums(costs), starts.sizes, target)
        missed = _missed(costs.excess, starts.prices, penalty).sum(2)
        return _bounded(value, starts, penalty) + (starts.shares * missed).sum(1)

    def _value(self, energy: Tensor, latency: Tensor, sizes: Tensor, target: Target) -> _Value:
        area = self.hardware(sizes).area_um2()
        values = quantities(energy, latency, area, self.space.template.clock_mhz)
        bounded = torch.isfinite(target.most)
        over = torch.where(bounded, values - torch.where(bounded, target.most, 0.0), -1.0)
        return _Value((values * target.weights).sum(1), over)

    def moved(self, starts: Starts, target: Target, pace: Pace, free: Tensor) -> Starts:
        """Starts after some steps.

        Args:
            starts: from where.
            target: what each makes small.
            pace: how.
            free: 1 for each parameter that moves, 0 where it stays, shape (starts, parameters).
        """
        now, arrangement = starts, self.arranged(starts.options)
        moments = Moments.none((starts.sizes, starts.logits))
        for step in range(pace.steps):
            if step % pace.every == 0:
                now = self._priced(now, target, pace, raised=step > 0)
                if step >= pace.apart:
                    now, taken = self._chosen(now, target, pace.penalty)
                    moments = moments.at(1, taken)
                    arrangement = self.arranged(now.options)
            slopes = self._slopes(now, target, arrangement, pace.penalty)
            (sizes, logits), moments = moments.after(slopes, step + 1)
            length = pace.length(step)
            sizes = now.sizes - length * pace.sizes * sizes * free
            sizes = torch.minimum(torch.maximum(sizes, self.low), self.high)
            now = replace(now, sizes=sizes, logits=now.logits - length * logits)
        now = self._priced(now, target, pace, raised=True)
        return replace(now, worth=self._worth(now, target))

    def _slopes(
        self, starts: Starts, target: Target, arrangement: Arrangement, penalty: float
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the Lagrangian by sizes and logits."""
        sizes, logits = starts.sizes.clone(), starts.logits.clone()
        moving = replace(starts, sizes=sizes.requires_grad_(), logits=logits.requires_grad_())
        total = self.lagrangian(moving, target, arrangement, penalty).sum()
        by_sizes, by_logits = torch.autograd.grad(total, (sizes, logits))
        return by_sizes, by_logits

    @torch.no_grad()
    def _worth(self, starts: Starts, target: Target) -> Tensor:
        costs = self.costs(starts.sizes, starts.logits, self.arranged(starts.options))
        value = self._value(*self.sums(costs), starts.sizes, target)
        missing = (starts.shares * torch.relu(costs.excess).sum(2)).sum(1)
        return value.made_small + _MISSED * torch.relu(value.over).sum(1) + missing

    @torch.no_grad()
    def _priced(self, starts: Starts, target: Target, pace: Pace, *, raised: bool) -> Starts:
        """With the layers' shares now, and prices by what is missed, where these are to rise."""
        costs = self.costs(starts.sizes, starts.logits, self.arranged(starts.options))
        slopes, over = self._slopes_of_sums(starts, costs, target, pace.penalty)
        shares = self._weighted(slopes, costs).clamp_min(_LEAST_SHARE)
        now = replace(starts, shares=shares)
        if not raised:
            return now
        prices = torch.relu(now.prices + pace.penalty * costs.excess).clamp(max=_MOST_PRICE)
        bound_prices = torch.relu(now.bound_prices + pace.penalty * over)
        return replace(now, prices=prices, bound_prices=bound_prices)

    def _slopes_of_sums(
        self, starts: Starts, costs: LayerCosts, target: Target, penalty: float
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """How the Lagrangian changes with all layers' energy and latency; and missed bounds."""
        energy, latency = (one.detach().requires_grad_() for one in self.sums(costs))
        with torch.enable_grad():
            value = self._value(energy, latency, starts.sizes, target)
            total = _bounded(value, starts, penalty).sum()
            by_energy, by_latency = torch.autograd.grad(total, (energy, latency))
        return (by_energy, by_latency), value.over.detach()

    def _weighted(self, slopes: tuple[Tensor, Tensor], costs: LayerCosts) -> Tensor:
        """What layers come to, shape (starts, layers)."""
        by_energy, by_latency = (one[:, None] for one in slopes)
        return self.layers.counts * (
            by_energy * costs.energy_pj + by_latency * costs.latency_cycles
        )

    @torch.no_grad()
    def _chosen(self, starts: Starts, target: Target, penalty: float) -> tuple[Starts, Tensor]:
        """For each layer the best option, or the mapping of another start where that is better.

        Returns:
            They, and from which start each layer's mapping is, shape (starts, layers).
        """
        worth_of = self._layer_worth(starts, target, penalty)
        many, layers = starts.options.shape
        every = torch.arange(self.layers.options, device=starts.options.device)
        options = every[:, None, None].expand(-1, many, layers)
        best, options = worth_of(
            starts.logits.expand(len(every), *starts.logits.shape), options
        ).min(0)
        own = torch.arange(many, device=best.device)
        shifts = range(min(many, _EXCHANGES))  # 0 is the start itself
        there = torch.stack([torch.roll(own, shift) for shift in shifts])
        best, taken = worth_of(starts.logits[there], options[there]).min(0)
        taken = there[taken, own[:, None]]
        layer = torch.arange(layers, device=best.device)
        logits, options = starts.logits[taken, layer], options[taken, layer]
        return replace(starts, logits=logits, options=options), taken

    def _layer_worth(
        self, starts: Starts, target: Target, penalty: float
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The Lagrangian as a sum over layers, to first order in their costs.

        Returns:
            What other logits and options, shape (ways, starts, ...), come to on each start's
            machine, shape (ways, starts, layers).
        """
        costs = self.costs(starts.sizes, starts.logits, self.arranged(starts.options))
        slopes, _ = self._slopes_of_sums(starts, costs, target, penalty)
        chunk = max(_MOST_AT_ONCE // len(starts.sizes), 1)

        def some(logits: Tensor, options: Tensor) -> Tensor:
            ways = len(logits)
            sizes = starts.sizes.repeat(ways, 1)
            other = self.costs(sizes, logits.flatten(0, 1), self.arranged(options.flatten(0, 1)))
            by_energy, by_latency = (one.repeat(ways) for one in slopes)
            excess = other.excess.unflatten(0, (ways, -1))
            missed = _missed(excess, starts.prices, penalty).sum(3)
            weighted = self._weighted((by_energy, by_latency), other).unflatten(0, (ways, -1))
            return weighted + starts.shares * missed

        def worth(logits: Tensor, options: Tensor) -> Tensor:
            parts = zip(logits.split(chunk), options.split(chunk), strict=True)
            return torch.cat([some(*part) for part in parts])

        return worth


def _missed(over: Tensor, prices: Tensor, penalty: float) -> Tensor:
    """What constraints cost, each."""
    return (torch.relu(prices + penalty * over) ** 2 - prices**2) / (2.0 * penalty)


def _bounded(value: _Value, starts: Starts, penalty: float) -> Tensor:
    """What is made small, and what its bounds cost."""
    return value.made_small + _missed(value.over, starts.bound_prices, penalty).sum(1)
