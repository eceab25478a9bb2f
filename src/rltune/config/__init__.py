"""The study file: read, judged, changed from the command line, written back, compared."""

from rltune.config.changes import Difference, compare, differences, invalidating
from rltune.config.load import from_mapping, load
from rltune.config.overrides import apply_overrides
from rltune.config.reader import Document, read
from rltune.config.schema import StudyConfig, safe_name

__all__ = [
    "Difference",
    "Document",
    "StudyConfig",
    "apply_overrides",
    "compare",
    "differences",
    "from_mapping",
    "invalidating",
    "load",
    "read",
    "safe_name",
]
