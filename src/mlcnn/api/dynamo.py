"""The backend ``mlcnn`` of ``torch.compile``: each graph of TorchDynamo is a network of its own.

TorchDynamo finds it by the entry point of the group ``torch_dynamo_backends``. A graph that has
nothing to gain runs as it is; one that cannot be replaced does so too, behind one warning that says
why. Networks are made at the first call, outside of TorchDynamo's own tracing.
"""

import logging
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, fx
from torch._dynamo import convert_frame
from torch.utils._python_dispatch import TorchDispatchMode

from mlcnn import graph
from mlcnn.api.fx_graphs import Part, counters_of, is_worth_it, text_of, trained, with_constants
from mlcnn.api.in_engine import CompileOptions, InEngine, in_engine
from mlcnn.api.replacing import Networks, Weights
from mlcnn.errors import InputError, MlcnnError

__all__ = ["backend"]

_MOST_CHANGES = 3
_CALLED = "the compiled function"

Run = Callable[..., Any]

_told: set[str] = set()
_shared: "WeakValueDictionary[object, _Made]" = WeakValueDictionary()


def backend(
    module: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, object] | None = None,
    mode: str | None = None,
) -> Run:
    """Compile one graph, as ``torch.compile(module, backend="mlcnn")`` asks for.

    Args:
        module: the graph; its parameters and buffers are inputs.
        example_inputs: what it will be called with first.
        options: see ``CompileOptions``: ``engine``, ``threads``, ``check``.
        mode: one of Inductor's; refused.

    Returns:
        What computes the graph: its outputs in a tuple, of all its inputs.

    Raises:
        InputError: an option that there is not, or ``mode``.
    """
    if mode is not None:
        raise InputError(
            f"mode={mode!r}: backend 'mlcnn' has no modes; give options={{'engine': ..., "
            "'threads': ...}"
        )
    settings = CompileOptions.of(options or {})
    _tell_break(module)
    if not is_worth_it(module):
        return module.forward
    reason = trained(module) or _elsewhere(example_inputs) or _other_types()
    if reason is not None:
        _tell(reason)
        return module.forward
    try:
        return _Graph(module, example_inputs, settings)
    except MlcnnError as error:
        _tell(str(error))
        return module.forward


def _tell(reason: str, key: str | None = None) -> None:
    """Warn, once for each reason."""
    if (key or reason) not in _told:
        _told.add(key or reason)
        warnings.warn(f"torch.compile with backend 'mlcnn': {reason}", stacklevel=2)


def _tell_break(module: fx.GraphModule) -> None:
    """Say why the graph ends here: rewrites across a break are lost.

    Once for each file and kind of reason: a module that breaks behind every layer says it once.
    """
    found = getattr(module, "compile_subgraph_reason", None)
    if found is None or not found.graph_break:
        return
    kind = str(found.reason).strip().partition("\n")[0]
    if kind.startswith("generic_jump"):
        kind = "control flow depends on the data"
    place = found.user_stack[-1] if found.user_stack else None
    where = "" if place is None else f" ({place.filename}:{place.lineno})"
    _tell(
        f"the graph breaks{where}: {kind}; each piece is a network of its own, and nothing is "
        "rewritten across the break. torch.compile(fullgraph=True) shows it, or remove it",
        f"{kind}, {None if place is None else place.filename}",
    )


def _elsewhere(inputs: Sequence[Any]) -> str | None:
    for item in inputs:
        if isinstance(item, Tensor) and not item.is_cpu:
            return (
                f"inputs are on device {str(item.device)!r}, and its engines run on the CPU, so "
                "PyTorch runs eagerly; use another backend there"
            )
    return None


def _other_types() -> str | None:
    if not torch.is_autocast_enabled("cpu"):
        return None
    return "it is called under torch.autocast, whose types its networks lack, so PyTorch runs it"


@contextmanager
def _fixed_batch() -> Generator[None]:
    """Don't warn of it: for another batch TorchDynamo gives another graph."""
    logger = logging.getLogger(graph.from_module.__module__)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Seeded(TorchDispatchMode):
    """Sees whether random numbers are drawn, in this thread.

    Attributes:
        random: whether they were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.random = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.random |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


class _Made:
    """Networks that graphs share which differ only in what TorchDynamo takes for fixed.

    A graph with another batch comes again as one with a dynamic batch.
    """

    def __init__(self, networks: Networks, weights: Weights) -> None:
        self.networks, self.weights = networks, weights


class _Graph:
    """Computes one graph; eagerly where it cannot be replaced."""

    def __init__(
        self, module: fx.GraphModule, inputs: Sequence[Any], options: CompileOptions
    ) -> None:
        self._module, self._options = module, options
        self._part = Part.of(module, inputs)
        self._lock, self._changes = threading.Lock(), 0
        self._made: _Made | None = None
        self._pending: Weights | None = None
        self._eager = False

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        """Compute the graph's outputs of its inputs."""
        if self._eager:
            return self._module(*arguments)
        weights = [arguments[place] for place in self._part.weights]
        made = self._made
        try:
            if made is None or not made.weights.same(weights):
                made = self._anew(weights, arguments)
            else:
                self._changes = 0
            if made is None:
                return self._module(*arguments)
            tensors = [arguments[place] for place in self._part.tensors]
            found = made.networks.find(tensors).run(tensors)
        except MlcnnError as error:
            self._eager = True
            _tell(f"{error}; this graph runs eagerly")
            return self._module(*arguments)
        return self._part.filled(found, arguments)

    def _anew(self, weights: Sequence[Tensor], arguments: Sequence[Any]) -> _Made | None:
        """Networks with the weights as they are; None where these change from call to call."""
        with self._lock:
            made = self._made
            if made is not None and made.weights.same(weights):  # another thread was here
                return made
            if made is None:
                self._require_replaceable(arguments)
            pending = Weights([*weights, *counters_of(self._module, weights)])
            settled = self._pending is not None and self._pending.same(weights)
            self._changes = 0 if settled or made is None else self._changes + 1
            self._pending = pending
            if self._changes > _MOST_CHANGES:
                _tell("weights change between calls, so it runs eagerly while they do")
                return None
            self._made = self._found(weights, pending)
            return self._made

    def _found(self, weights: Sequence[Tensor], state: Weights) -> _Made:
        """Networks of an equal graph with the same weights, or new ones."""
        text = text_of(self._module)
        key = None if text is None else (text, self._options, *map(id, weights))
        if key is not None:
            known = _shared.get(key)
            if known is not None and known.weights.same(weights):
                return known
        part = self._part
        constants = list(weights)
        options = self._options

        def make(tensors: Sequence[Tensor]) -> InEngine:
            module = with_constants(part, constants)
            # Export and TorchDynamo's tracing in another thread would change each other's state.
            with convert_frame.compile_lock, _fixed_batch():
                model = graph.from_module(module, tuple(tensors), name=_CALLED)
            with torch.no_grad():
                expected = module(*[tensor.clone() for tensor in tensors])
            return in_engine(model, tensors, expected, options)

        made = _Made(Networks(make), state)
        if key is not None:
            _shared[key] = made
        return made

    def _require_replaceable(self, arguments: Sequence[Any]) -> None:
        """Run the graph once as it is, to see whether it does more than compute its outputs.

        Raises:
            InputError: it does.
        """
        given = [
            item.detach().clone().requires_grad_(item.requires_grad)
            if isinstance(item, Tensor) and not isinstance(item, torch.nn.Parameter)
            else item
            for item in arguments
        ]
        tensors = [item for item in given if isinstance(item, Tensor) and not item.is_inference()]
        versions = [tensor._version for tensor in tensors]
        state = torch.random.get_rng_state()
        with _Seeded() as seen:
            outputs = self._module(*given)
        if seen.random:
            torch.random.set_rng_state(state)
            raise InputError("the graph draws random numbers, which no network does")
        if versions != [tensor._version for tensor in tensors]:
            raise InputError(
                "the graph changes an input or a buffer in place, which no network does"
            )
        made = [outputs[place] for place in self._part.made]
        if any(not isinstance(item, Tensor) for item in made):
            raise InputError("the graph returns a number beside tensors, which no network does")
        if any(item.requires_grad for item in made):
            raise InputError(
                "gradients are asked for, and its networks have none: call it under "
                "torch.no_grad() or torch.inference_mode()"
            )
        places = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        if any(item.untyped_storage().data_ptr() in places for item in made):
            raise InputError("the graph returns a view of an input, which no network does")
