"""Writes what each example prints to ``docs/printed``, which the page of examples shows.

    python docs/render_examples.py [02_count_operations ...]

``tests/test_examples.py`` holds what they print against these files.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTED = Path(__file__).parent / "printed"


def main() -> None:
    """Run the examples named, or all, each in an empty folder."""
    PRINTED.mkdir(exist_ok=True)
    for path in sorted(EXAMPLES.glob("[0-9]*.py")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(  # noqa: S603 - our own examples
                [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, check=True
            )
        lines = [line.rstrip() for line in done.stdout.splitlines()]
        (PRINTED / f"{path.stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
