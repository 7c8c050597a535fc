"""Take a picture of a report: ``python -m mlcnn.report report.html picture.png``."""

import argparse
import sys
from pathlib import Path

from mlcnn.errors import MlcnnError
from mlcnn.report.picture import picture


def _main() -> int:
    parser = argparse.ArgumentParser(description="take a picture of a report")
    parser.add_argument("page", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    try:
        picture(given.page, given.image, width=given.width, height=given.height, dark=given.dark)
    except MlcnnError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
