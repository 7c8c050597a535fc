"""``python -m mlcnn``: the command line."""

import sys

from mlcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
