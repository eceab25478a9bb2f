"""Optional mirrors of a study in other tools: TensorBoard, Weights & Biases, MLflow, or one of the user's own.

Each runs in a process of its own and reads the study's folder, as the report does. So it can fail, hang or be killed,
and no trial is the worse for it; what it has missed, the next session brings after.
"""

from rltune.trackers.processes import Trackers
from rltune.trackers.registry import TRACKERS, check_tracker, require
from rltune.trackers.tracked import TrackedStudy, Tracker

__all__ = ["TRACKERS", "TrackedStudy", "Tracker", "Trackers", "check_tracker", "require"]
