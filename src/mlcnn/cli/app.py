"""The application: dispatch, and what an error looks like.

Exit codes: 0 done; 1 a defect of mlcnn or a failed comparison; 2 the user's input, told in one
line; 3 a check whose limit broke; 130 interrupted; 141 nobody reads the output any more.
"""

import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TextIO

from cyclopts import App, CycloptsError, Parameter

import mlcnn
from mlcnn.cli import INTERRUPTED
from mlcnn.cli.configuring import NOTE, configure
from mlcnn.cli.output import complain, console, require_streams
from mlcnn.errors import InfeasibleError, InputError, UnsupportedError

__all__ = ["app", "main"]

_LOG = logging.getLogger(__name__)
_INTERNAL = 1
_USER = 2
_BROKEN_PIPE = 141


def _shown(default: object) -> str | None:
    """A default worth showing: a flag that is off and an empty list say nothing."""
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or None
    return None if default is None or default is False else str(default)


app = App(
    name="mlcnn",
    help="Find the cheapest way to run a convolutional network: rewrite, verify, count, measure.",
    version=mlcnn.__version__,
    help_format="markdown",
    default_parameter=Parameter(
        negative=(),
        show_default=_shown,  # pyright: ignore[reportArgumentType] - None shows nothing
    ),
    suppress_keyboard_interrupt=False,
    config=configure,
)
# The modules are named, not imported, and so is what they do: `mlcnn --help` stays quick.
_COMMANDS = {
    "run": ("run:run", "Rewrite, verify, count, evaluate and measure; write a report."),
    "optimize": ("optimize:optimize", "Rewrite a network, verify the result, and save it."),
    "count": ("count:count", "Operations, parameters and bytes per layer, before and after."),
    "diff": ("diff:diff", "Two networks node by node: what went, came and changed, drawn."),
    "bench": ("bench:bench", "Latency per engine, before and after, or of two networks."),
    "check": ("check:check", "Hold a network against a baseline: exit code 3 where it is worse."),
    "deploy": ("deploy:deploy", "A C library of a network, which needs neither Python nor mlcnn."),
    "evaluate": (
        "evaluate:evaluate",
        "Cycles, energy and area on an accelerator, against another.",
    ),
    "map": ("map:mapping", "The best mapping of a layer or a network on given hardware."),
    "explore": ("explore:exploring", "Hardware sizes and mappings searched together."),
    "train": ("train:train", "Train a network from scratch on labelled images."),
    "finetune": (
        "finetune:finetune",
        "Approximate passes on a trained network, its accuracy recovered on your images.",
    ),
    "quantize": ("quantize:quantize", "Weights and activations of few bits, calibrated on images."),
    "compress": (
        "compress:compress",
        "A smaller network within a budget of accuracy, trained on your images.",
    ),
    "skip": (
        "skip:skip",
        "Leave out what single images do not need, within a budget of accuracy.",
    ),
    "cheapest": (
        "cheapest:cheapest",
        "All of it: the cheapest stack of methods within a budget of accuracy.",
    ),
    "compare": ("compare:compare", "Two runs of `mlcnn cheapest` side by side."),
    "stack": ("stack:stack", "Several of these methods on one network, one after the other."),
    "study": ("study:study", "Train the paper's networks in all their forms."),
    "reproduce": ("reproduce:reproduce", "A published table or figure beside ours."),
    "rtl": ("rtl:rtl", "The accelerator as hardware, simulated and compared with its models."),
    "list": ("listing:listing", "The networks, passes, engines and machines that there are."),
    "completion": ("completion:completion", "Print the script that completes words in a shell."),
}
for _order, (_command, (_place, _help)) in enumerate(_COMMANDS.items()):
    app.command(f"mlcnn.cli.{_place}", name=_command, help=_help, sort_key=_order)
app.command(
    "mlcnn.cli.completion:install",
    name="--install-completion",
    help="Write that script where this shell finds it.",
    show=False,  # so long a name would leave no room for what commands do
)


def _show_warning(  # noqa: PLR0917 - the signature of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show mlcnn's own warnings as one line; those of libraries do not help a user."""
    del category, filename, lineno, file, line
    complain(f"warning: {message}")


def _show_thread_error(error: threading.ExceptHookArgs) -> None:
    """Show an error that ends a thread as one line, as those that end a command are."""
    complain(f"warning: a thread ended: {error.exc_type.__name__}: {error.exc_value}")


class _OwnLog(logging.Handler):
    """Shows what mlcnn logs as one line, and nothing that libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "mlcnn":
            told = record.levelname.lower()
            if record.levelno < NOTE:
                told = f"{record.relativeCreated / 1000:.2f} s"
            complain(f"{told}: {record.getMessage()}")


@contextmanager
def _quiet_libraries() -> Generator[None]:
    log, root, own = _OwnLog(), logging.getLogger(), logging.getLogger("mlcnn")
    level, hook = own.level, threading.excepthook
    own.setLevel(NOTE)  # -v tells more: see configure
    root.addHandler(log)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module="mlcnn")
            warnings.showwarning = _show_warning
            threading.excepthook = _show_thread_error
            yield
    finally:
        threading.excepthook = hook
        root.removeHandler(log)
        own.setLevel(level)


def _dispatch(arguments: Sequence[str]) -> int:
    code = app(
        list(arguments),
        console=console(),
        exit_on_error=False,
        print_error=False,
        verbose=False,
        result_action="return_value",
    )
    _LOG.info("done")
    return code if isinstance(code, int) else 0


def _fail(error: Exception, message: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    complain(message)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command and its options; the process's own by default.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or bool(os.environ.get("MLCNN_DEBUG"))
    try:
        require_streams()
        with _quiet_libraries():
            return _dispatch(arguments)
    except (InputError, UnsupportedError, InfeasibleError, CycloptsError) as error:
        return _fail(error, f"error: {error}", _USER, debug=debug)
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last resort: a short message, not a traceback
        message = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
        return _fail(error, message, _INTERNAL, debug=debug)
