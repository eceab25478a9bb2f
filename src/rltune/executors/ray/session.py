"""One call of Tune: from the connection to a cluster to the end of the last trial."""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cloudpickle
from ray import tune

from rltune.errors import ExecutorError
from rltune.executors.ray import cluster
from rltune.executors.ray.body import TrialBody
from rltune.executors.ray.bridge import Bridge, Schedule, Search, Stop, Watch
from rltune.executors.ray.executor import RayExecutor
from rltune.executors.ray.messages import Kit
from rltune.types import Brain, Trainer


def run_trials(executor: RayExecutor, brain: Brain, trainer: Trainer, should_stop: Callable[[], bool]) -> None:
    """Runs what the brain suggests; see `RayExecutor.run`."""
    bundles: list[cluster.Bundle] = [dict(executor.per_trial)] * executor.nodes
    cpus = executor.n_at_once * executor.nodes * executor.per_trial.get("CPU", 0.0)
    with (
        cluster.connected(executor.address, cpus=cpus, runtime_env=executor.runtime_env, log=executor.ray_log),
        _landmark(executor.folder) as landmark,
    ):
        if not executor.autoscaling:
            cluster.require(bundles)
        room = cluster.room(bundles)
        cluster.expect_at_most(min(executor.workers or room, room))

        @cache
        def must_ship() -> bool:
            shared = executor.shared
            return not (cluster.sees_everywhere(landmark) if shared is None and landmark else shared in (None, True))

        bridge = Bridge(brain, should_stop, workers=executor.workers or room, must_ship=must_ship)
        kit = Kit(
            trainer=cloudpickle.dumps(trainer),
            sys_path=tuple(sys.path),
            resources=executor.resources,
            isolate=executor.isolate,
            warm=executor.warm,
            landmark=landmark,
            shared=executor.shared,
            base=executor.base,
            log=executor.log,
            bundles=executor.nodes,
        )
        try:
            _fit(bridge, kit, bundles)
        except Exception as error:
            bridge.close()
            raise bridge.failure or ExecutorError(f"Ray ended before the study did: {error}") from error
        bridge.close()
        if bridge.failure is not None:
            raise bridge.failure


def _fit(bridge: Bridge, kit: Kit, bundles: Sequence[cluster.Bundle]) -> None:
    place = tune.PlacementGroupFactory(
        [dict(bundle) for bundle in bundles], strategy="STRICT_SPREAD" if len(bundles) > 1 else "PACK"
    )
    body = tune.with_resources(tune.with_parameters(TrialBody, kit=kit), place)
    with tempfile.TemporaryDirectory(prefix="rltune-tune-") as storage:
        tune.Tuner(
            body,
            tune_config=tune.TuneConfig(
                search_alg=Search(bridge),
                scheduler=Schedule(bridge),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.trial_id),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="rltune",
                storage_path=storage,
                verbose=0,
                stop=Stop(bridge),
                callbacks=[Watch(bridge)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


@contextmanager
def _landmark(folder: Path | None) -> Iterator[Path | None]:
    """A file that is there for this run only: a node that sees it shares the study's folder with the driver."""
    if folder is None:
        yield None
        return
    path = folder / f".shared-{secrets.token_hex(4)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
