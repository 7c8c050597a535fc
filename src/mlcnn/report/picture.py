"""A picture of a report, taken by a Chromium without a window.

For a README: ``python -m mlcnn.report report.html picture.png``.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from mlcnn.errors import InputError

__all__ = ["browser_command", "find_browser", "picture"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_TIMEOUT_S = 60
_DRAWING_MS = 10_000


def find_browser() -> str | None:
    """Path of the Chromium of this machine; None if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def browser_command(browser: str, profile: Path, *, dark: bool = False) -> list[str]:
    """A command line that starts a browser without window, network traffic of its own, or past.

    Args:
        browser: path of the Chromium.
        profile: folder for its profile.
        dark: show pages as on a dark desktop.
    """
    command = [
        browser,
        "--headless",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--no-first-run",
        # The page loads nothing; this keeps the browser's own services quiet, too.
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        f"--virtual-time-budget={_DRAWING_MS}",
        # Chromium's preferredColorScheme: 0 dark, 1 light.
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Chromium's sandbox does not start as root. The page is our own, and may load nothing.
        command.append("--no-sandbox")
    return command


def picture(
    page: Path, image: Path, *, width: int = 1200, height: int = 1000, dark: bool = False
) -> None:
    """Take a picture of the upper part of a page.

    Args:
        page: the HTML file.
        image: the PNG file to write.
        width: width of the window in CSS pixels; the picture has twice as many.
        height: height of the window in CSS pixels; the picture has twice as many.
        dark: as on a dark desktop.

    Raises:
        InputError: there is no page, or no browser, or the browser took no picture.
    """
    if not page.is_file():
        raise InputError(f"there is no report {page}")
    browser = find_browser()
    if browser is None:
        raise InputError(f"a picture needs one of {', '.join(_NAMES)} on the PATH; install one")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "picture.png"
        command = [
            *browser_command(browser, Path(folder) / "profile", dark=dark),
            "--force-device-scale-factor=2",
            f"--window-size={width},{height}",
            f"--screenshot={taken}",
            page.resolve().as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - no shell
        except subprocess.TimeoutExpired as error:
            msg = f"{browser} took no picture of {page} within {_TIMEOUT_S} s; try again"
            raise InputError(msg) from error
        if not taken.is_file():
            raise InputError(f"{browser} took no picture of {page}")
        shutil.copyfile(taken, image)
