"""The search: what costs nothing first, then what calibration allows, then training."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product, zip_longest
from statistics import median

from mlcnn.api.searching.options import CheapestOptions
from mlcnn.api.searching.prices import share_of
from mlcnn.api.searching.trials import Done, Trial, Trials
from mlcnn.api.stacking import Stack, Step
from mlcnn.api.stacking.kind import Kind
from mlcnn.errors import InputError
from mlcnn.frontier.budget import Budget
from mlcnn.frontier.predicting import Known, Part, Predictor
from mlcnn.frontier.stacks import Aspect

__all__ = ["Search", "Training"]

_LESS = 0.97
"""Of a cost, what is surely less."""
_GROWTH = 3
_LEAST_IMAGES = 256
_MOST_EPOCHS = 9
_CALIBRATION_SHARE = 0.35
"""Of the budget, after which nothing that only calibrates is begun."""
_LOOKING_SHARE = 0.5
"""Of the budget, after which no further method is looked at."""
_TOO_LATE = "the budget was used up before its turn"
_TOO_FEW_POINTS = 0.1
_ROUND_POINTS = 10
_FINISHED = 3
_LEVELS = 3
"""Settings between two neighbours that are asked about."""
_MAX_DROP = "max-drop"


@dataclass(frozen=True, slots=True)
class Training:
    """What training takes.

    Attributes:
        images: of the data.
        seconds: measures what one image of one step takes, forwards and backwards.
        ending: seconds that are kept for judging and testing, by what was tried so far.
    """

    images: int
    seconds: Callable[[], float]
    ending: Callable[[], float]


@dataclass(eq=False)
class Search:
    """Looks for the cheapest stack within the budgets of accuracy and time.

    Attributes:
        options: what is asked for.
        trials: tries stacks.
        original: the network as it was.
        training: what training takes.
        coded: whether the machine takes codes alone.
        say: told what the user should know.
        dropped: what was not gone on with, and why.
    """

    options: CheapestOptions
    trials: Trials
    original: Done
    training: Training
    coded: bool
    say: Callable[[str], None]
    dropped: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        kinds = self.options.kinds
        self._forms = [k for k in kinds if k.aspect is Aspect.FORMS]
        self._codes = [k for k in kinds if k.aspect is Aspect.NUMBERS and not k.trains]
        self._images = [k for k in kinds if k.aspect is Aspect.IMAGES]
        self._trained = sorted((k for k in kinds if k.trains), key=lambda kind: kind.aspect)
        self._endings = [self.original]

    # What networks are worth.

    def cost(self, done: Done) -> float:
        """The objective, as a share of the original's: of two the geometric mean."""
        if done.price is None or self.original.price is None:
            return math.inf
        return share_of(done.price.costs, self.original.price.costs, self.options.objectives)

    def drop(self, done: Done) -> float:
        """Percentage points below the original, on the images that choose."""
        return -100 * done.change(self.original).top1

    def allowed(self, done: Done) -> bool:
        """Whether it may be the answer, as far as the images that choose say."""
        if done.price is None or (self.coded and not self._is_coded(done.trial.stack)):
            return False
        if done.trial.is_untrained:
            return False
        return Budget(self.options.max_drop).allows(done.change(self.original))

    @property
    def found(self) -> list[Done]:
        """What may be the answer, the cheapest first."""
        ours = (done for done in self.trials.known.values() if not done.trial.peer)
        return sorted(filter(self.allowed, ours), key=self.cost)

    def _is_coded(self, stack: Stack) -> bool:
        return any(step.kind.aspect is Aspect.NUMBERS for step in stack.steps)

    # The stages.

    def exact(self) -> None:
        """What is the same network, run better."""
        self._try([Trial(Stack((_step(kind),))) for kind in self._forms])

    def calibrated(self) -> None:
        """What images alone allow, without training."""
        self._try([Trial(Stack((_step(kind),))) for kind in self._codes])
        for base in [*self._forms, *self._codes]:
            done = self.trials.known.get(Trial(Stack((_step(base),))).key)
            if done is not None and done.price is not None:
                self._by_image(done, self.options.budget_s * _CALIBRATION_SHARE)
        if not self._forms and not self._codes:
            self._by_image(self.original, self.options.budget_s * _CALIBRATION_SHARE)

    def _by_image(self, done: Done, until: float) -> None:
        """A network that leaves out what single images do not need, with what may still be lost."""
        left = self.options.max_drop - max(self.drop(done), 0.0)
        left = math.floor(_ROUND_POINTS * left + 1e-9) / _ROUND_POINTS
        if left < _TOO_FEW_POINTS:
            return
        for kind in self._images:
            if self.trials.spent > until and not self._known_by_image(done, kind):
                self.dropped.setdefault(kind.name, _TOO_LATE)
                continue
            values = {name: left if name == _MAX_DROP else v for name, v in kind.values.items()}
            with_it = _stack([*done.trial.stack.steps, Step(kind, values)])
            if with_it is not None:
                self._try([Trial(with_it, done.trial.images)])

    def _known_by_image(self, done: Done, kind: Kind) -> bool:
        return any(
            known.trial.stack.steps[:-1] == done.trial.stack.steps
            and known.trial.stack.steps[-1].kind is kind
            for known in self.trials.known.values()
            if known.trial.stack.steps
        )

    def trained(self) -> None:
        """The rest of the budget: the most promising stacks, trained longer and longer."""
        if not self._trained:
            return
        self._choose_endings()
        singles = self._worthwhile()
        if not singles:
            if _TOO_LATE in self.dropped.values():
                self._too_short(0.0, 1)
            else:
                self.say("no method that trains makes the network cheaper")
            return
        first = self._first(singles)
        if first is None:
            return
        self._try([Trial(stack, first) for stack in singles])
        keep, images = _kept(singles), first
        for count in (keep, max(1, keep // _GROWTH)):
            if _GROWTH * images > _MOST_EPOCHS * self.training.images:
                break
            chosen = self._next(_GROWTH * images, count)
            fitting = chosen if self._fits(chosen) else chosen[:1]
            if not fitting or not self._fits(fitting):
                break
            images *= _GROWTH
            self._try(fitting)
        while (more := self._next(images, 1)) and self._fits(more):
            self._try(more)
        self._alone(images)
        self._finish()

    def _choose_endings(self) -> None:
        """What comes behind what is trained, codes or forms, the cheapest within first."""
        ends = [Trial(Stack((_step(kind),))).key for kind in [*self._codes, *self._forms]]
        known = [self.trials.known[key] for key in ends if key in self.trials.known]
        fit = [done for done in known if done.price is not None]
        if self.coded:
            fit = [done for done in fit if self._is_coded(done.trial.stack)]
        # Codes that lose too much alone lose more behind others.
        within = [done for done in fit if self.allowed(done)] or fit
        self._endings = sorted(within, key=self.cost) or [self.original]

    def _ended(self, steps: Sequence[Step], ending: Done) -> Stack | None:
        """A stack with what comes behind it, unless it gives the numbers a width itself."""
        has_codes = any(step.kind.aspect is Aspect.NUMBERS for step in steps)
        behind = [
            step
            for step in ending.trial.stack.steps
            if not (has_codes and step.kind.aspect <= Aspect.NUMBERS)
        ]
        return _stack([*steps, *behind])

    def _ending(self, stack: Stack) -> tuple[list[Step], Done | None]:
        """The steps of a stack that train, and what comes behind them; None for anything else."""
        steps = [step for step in stack.steps if step.kind.trains]
        ends = (end for end in self._endings if steps and self._ended(steps, end) == stack)
        return steps, next(ends, None)

    def _worthwhile(self) -> list[Stack]:
        """Each method alone that makes the network cheaper: known without any training.

        In the forms of floats, which take no calibration: what a method saves there it mostly saves
        in codes.
        """
        steps = [
            [Step(kind, {**kind.values, **values}) for values in kind.settings or (kind.values,)]
            for kind in self._trained
        ]
        # The mildest setting of each first, so that each has its turn.
        ordered = [step for same in zip_longest(*steps) for step in same if step is not None]
        forms = tuple(_step(kind) for kind in self._forms)
        plain = self.trials.known.get(Trial(Stack(forms)).key, self.original)
        base, found = min(self.cost(plain), 1.0), list[Stack]()
        until = _LOOKING_SHARE * self.options.budget_s
        for step in ordered:
            name, stack = step.text, _stack([step, *forms])
            if stack is None:
                continue
            trial = Trial(stack, 0)
            if self.trials.is_new(trial) and self.trials.spent > until:
                self.dropped[name] = _TOO_LATE
                continue
            (done,) = self._try([trial])
            if done.price is None:
                self.dropped[name] = done.why
            elif self.cost(done) > _LESS * base:
                ratio = self.cost(done) / base
                self.dropped[name] = f"no cheaper: {ratio:.2f} of what it takes without"
            elif (trained := self._ended([step], self._endings[0])) is not None:
                found.append(trained)
        return found

    def _first(self, singles: Sequence[Stack]) -> int | None:
        """Images of the first round; None where the budget has no room for any training."""
        training = self.training
        if self.options.first is not None:
            return self.options.first
        image = self.trials.note("seconds of an image", training.seconds)
        left = self.trials.note(
            "seconds to train",
            lambda: self.options.budget_s - self.trials.spent - training.ending(),
        )
        fixed = self._fixed_seconds()
        keep = _kept(singles)
        units = len(singles) + _GROWTH * keep * 1.5 + _GROWTH**2 * 2.0
        count = int((left - fixed * (len(singles) + keep + 4)) / (image * units))
        if count >= _LEAST_IMAGES:
            return min(count, training.images)
        self._too_short(left, units)
        self.dropped |= {stack.steps[0].text: "no time to train it" for stack in singles}
        return None

    def _too_short(self, left: float, units: float) -> None:
        """Say that nothing can be trained, and what is possible in the time.

        Args:
            left: seconds to train in.
            units: trainings of the first round's length that all rounds are.

        Raises:
            InputError: nothing but methods that train was asked for.
        """
        image = self.trials.note("seconds of an image", self.training.seconds)
        needed = max(self.options.budget_s, self.trials.spent) - left + self.training.ending()
        needed += _LEAST_IMAGES * image * units
        told = (
            f"--budget {self.options.budget_s:.0f} s: {max(left, 0):.0f} s are left for training, "
            f"an epoch of one stack takes about {self.training.images * image:.0f} s; exact passes "
            f"and what calibration allows fit in it; to train give at least {needed:.0f} s"
        )
        if all(kind.trains for kind in self.options.kinds):
            raise InputError(told)
        self.say(told)

    def _fixed_seconds(self) -> float:
        """Of a trial, whatever it is trained."""
        known = [done.seconds for done in self.trials.known.values() if done.trial.is_untrained]
        return median(known) if known else 0.0

    def _fits(self, trials: Sequence[Trial]) -> bool:
        """Whether trials end before what the end takes has to begin."""
        if self.options.first is not None:
            return self.trials.spent < self.options.budget_s
        image = self.trials.note("seconds of an image", self.training.seconds)
        needs = sum(
            self._fixed_seconds() + image * trial.images * trial.trained_steps
            for trial in trials
            if trial.key not in self.trials.known
        )
        return self.trials.spent + needs + self.training.ending() <= self.options.budget_s

    # Predictions.

    def predictor(self) -> Predictor:
        """From all trials with the usual ending: costs of all, drops of those that were trained."""
        known: list[Known] = []
        for done in self.trials.known.values():
            steps, ending = self._ending(done.trial.stack)
            if ending is None or done.price is None:
                continue
            drop = self.drop(done) - self.drop(ending) if done.trial.images else None
            share = self.cost(done) / self.cost(ending)
            known.append(Known(_parts(steps), done.trial.images, share, drop))
        return Predictor(known)

    def _next(self, images: int, count: int) -> list[Trial]:
        """The stacks that are foretold to be the cheapest within the budget, if cheaper than all.

        Where nothing is foretold to stay within, the one that loses least.
        """
        known = self.trials.known
        candidates = [s for s in self._stacks() if Trial(s, images).key not in known]
        if not self.options.predict:
            draw = random.Random(self.options.seed + len(known))  # noqa: S311 - no secret
            return [Trial(s, images) for s in draw.sample(candidates, min(count, len(candidates)))]
        predictor, foretold = self.predictor(), list[tuple[float, float, Stack]]()
        for stack in candidates:
            steps, ending = self._ending(stack)
            end = ending or self.original
            cost = self.cost(end) * predictor.cost(_parts(steps))
            drop = self.drop(end) + predictor.drop(_parts(steps), images)
            foretold.append((cost, drop, stack))
        best = min((self.cost(done) for done in self.found), default=math.inf)
        within = [f for f in foretold if f[1] <= self.options.max_drop and f[0] < _LESS * best]
        within.sort(key=lambda item: item[0])
        if not within and not any(done.trial.images == images for done in known.values()):
            within = sorted(foretold, key=lambda item: item[1])[:1]
        return [Trial(s, images, (cost, drop)) for cost, drop, s in _apart(within)[:count]]

    def _stacks(self) -> Iterator[Stack]:
        """All stacks of methods of which something is known, also of settings between."""
        singles = {k.parts[0].method: k for k in self.predictor().known if len(k.parts) == 1}
        by_aspect: dict[Aspect, list[Step | None]] = {}
        for kind in self._trained:
            if kind.name in singles and kind.name not in self.dropped:
                by_aspect.setdefault(kind.aspect, [None]).extend(self._settings(kind))
        for chosen in product(*by_aspect.values()):
            steps = [step for step in chosen if step is not None]
            stacks = [self._ended(steps, ending) for ending in self._endings] if steps else []
            yield from {stack.text: stack for stack in stacks if stack is not None}.values()

    def _settings(self, kind: Kind) -> Iterator[Step]:
        known = [
            done.trial.stack.steps[0]
            for done in self.trials.known.values()
            if done.trial.stack.steps and done.trial.stack.steps[0].kind is kind
            if done.trial.trained_steps == 1 and done.trial.images
        ]
        steps = {step.text: step for step in known}
        yield from steps.values()
        if not kind.between:
            return
        name = next(iter(kind.values))
        given = [values[name] for values in kind.settings]
        values = sorted(step.values[name] for step in steps.values() if step.values[name] in given)
        for low, high in pairwise(values):
            for level in range(1, _LEVELS + 1):
                value = low * (high / low) ** (level / (_LEVELS + 1))
                yield Step(kind, {**kind.values, name: float(f"{value:.2g}")})

    # The end.

    def _alone(self, images: int) -> None:
        """The best single method, trained as long as the stacks: what they are compared with."""
        singles = [
            done
            for done in self.trials.known.values()
            if done.trial.trained_steps == 1 and 0 < done.trial.images < images
        ]
        within = sorted((d for d in singles if self.allowed(d)), key=self.cost)
        plain = Stack((within[0].trial.stack.steps[0],)) if within else None
        if plain is not None:
            forms = tuple(_step(kind) for kind in self._forms)
            trial = Trial(Stack((*plain.steps, *forms)), images)
            if self._fits([trial]):
                self._try([trial])

    def _finish(self) -> None:
        """The best trained stacks, with what single images do not need left out, too."""
        best = [done for done in self.found if done.trial.trained_steps][:_FINISHED]
        until = self.options.budget_s - self.training.ending()
        for done in best:
            if not any(step.kind.aspect is Aspect.IMAGES for step in done.trial.stack.steps):
                self._by_image(done, until)

    def _try(self, trials: Sequence[Trial]) -> list[Done]:
        return self.trials.run(trials)


def _kept(stacks: Sequence[Stack]) -> int:
    """How many of so many go into the next round."""
    return max(2, math.ceil(len(stacks) / _GROWTH))


def _step(kind: Kind) -> Step:
    return Step(kind, dict(kind.values))


def _stack(steps: Sequence[Step]) -> Stack | None:
    """A stack; None where the steps do not go together."""
    try:
        return Stack(tuple(steps))
    except InputError:
        return None


def _parts(steps: Sequence[Step]) -> tuple[Part, ...]:
    return tuple(Part(step.kind.name, tuple(step.values.items())) for step in steps)


def _apart(foretold: Sequence[tuple[float, float, Stack]]) -> list[tuple[float, float, Stack]]:
    """Those first that differ from better ones in a method, not in a setting alone."""
    seen: set[tuple[str, ...]] = set()
    firsts, others = list[tuple[float, float, Stack]](), list[tuple[float, float, Stack]]()
    for item in foretold:
        methods = tuple(step.kind.name for step in item[2].steps)
        (others if methods in seen else firsts).append(item)
        seen.add(methods)
    return [*firsts, *others]
