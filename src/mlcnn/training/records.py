"""What a run leaves for its reader: a table of its epochs, and TensorBoard's events."""

import csv
import importlib
import io
from dataclasses import asdict
from pathlib import Path

from mlcnn.training.loop import History

__all__ = ["Records"]


class Records:
    """Writes ``epochs.csv`` after every epoch, and TensorBoard's events where it is installed.

    Args:
        folder: where; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = _writer(folder)

    def write(self, history: History) -> None:
        """Write the table anew, at once, and the last epoch's events."""
        if not history:
            return
        rows = [asdict(epoch) for epoch in history]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        partial = self._folder / ".epochs.csv.partial"
        partial.write_text(text.getvalue(), encoding="utf-8")
        partial.replace(self._folder / "epochs.csv")
        if self._events is not None:
            for name, value in rows[-1].items():
                if name != "number" and value is not None:
                    self._events.add_scalar(name, value, rows[-1]["number"])
            self._events.flush()


def _writer(folder: Path):  # noqa: ANN202 - of a package that may be missing
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    return module.SummaryWriter(str(folder / "tensorboard"))
