"""Trials on a Ray cluster: Ray Tune places them, watches them and tells of lost nodes; the tuner decides.

    executor.py   what a user names: `RayExecutor`
    session.py    one call of Tune, from its beginning to its end
    cluster.py    the connection to a cluster, quiet; what fits on it
    bridge.py     Tune's questions, passed on to the tuner (in the driver)
    body.py       one trial after another in one of Tune's actors (on a node)
    messages.py   what passes between the two
    files.py      a trial's folder, where the nodes share none with the driver

Everything but `executor.py` imports Ray.
"""

from rltune.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
