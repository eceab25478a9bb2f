"""The benchmarks are no part of the installed package, so the repository itself must be on Python's path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
