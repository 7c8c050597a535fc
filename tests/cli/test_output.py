"""Progress goes to a terminal, late, and nowhere else."""

import io
import sys
import time

import pytest

from mlcnn.cli import output


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def two_stages(error: type[BaseException]) -> None:
    with output.progress() as tell:
        for stage in ("reading", "measuring"):
            for done in range(3):
                tell(stage, done, 3)
                time.sleep(0.06)
        raise error


def work(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> str:
    """What two stages with pauses, ended by an error, leave on standard error."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(error):
        two_stages(error)
    return stream.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_bars_appear_when_work_takes_long_and_go_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.02)
    shown = work(Terminal(), monkeypatch, error)
    assert "reading" in shown
    assert "measuring" in shown
    hidden, back = "\x1b[?25l", "\x1b[?25h"
    assert shown.rfind(back) > shown.rfind(hidden) >= 0


def test_quick_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert work(Terminal(), monkeypatch, ValueError) == ""


def test_a_file_gets_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.02)
    assert work(io.StringIO(), monkeypatch, ValueError) == ""
