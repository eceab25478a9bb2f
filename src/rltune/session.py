"""One session of a study, from the lock on its folder to the files that say what came out.

`rltune run`, `rltune demo` and `rltune.tune` all come through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from rltune import config as cfg
from rltune import records as rec
from rltune.analysis.pareto import Pareto, pareto
from rltune.config.build import Parts, build
from rltune.config.plan import full_run_of
from rltune.errors import FolderError, InputError, RltuneError, StudyFileError
from rltune.evaluation.folds import FoldEnd
from rltune.folder import StudyDir, write_atomic
from rltune.objective import Objective
from rltune.protocol.decision import Finals, Verdict, recommended, verdict
from rltune.records import TrialRecord
from rltune.reporting.build import build_report
from rltune.reporting.figures import figure
from rltune.reporting.files import trials_table, write_results
from rltune.reporting.live import LivePage
from rltune.reporting.model import Report
from rltune.reporting.notebook import summary_html, summary_text
from rltune.reporting.provenance import head_of, provenance
from rltune.space import SearchSpace
from rltune.storage import open_study, storage_errors, storage_failed
from rltune.trackers import Trackers
from rltune.trainers.registry import command_line
from rltune.tuner import Tuner

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

DONE = 0
NOTHING_FEASIBLE = 3


@dataclass(frozen=True, repr=False)
class Result:
    """A study as it stands: after a session of it, or read from its folder. A notebook shows it as a summary.

    Attributes:
        folder: The study's.
        config: The study file.
        study: Optuna's view of it.
        records: Every trial of the study.
        verdict: The finalists against the default on fresh seeds; None before the finals.
        best: The trial to ship, or the best of single runs where there were no finals; None where none is feasible.
        halted: Why the session ended before its plan did: too many failures.
        stopped: The session was told to stop and can be resumed.
    """

    folder: StudyDir
    config: cfg.StudyConfig
    study: optuna.Study
    records: list[TrialRecord]
    verdict: Verdict | None
    best: TrialRecord | None
    halted: str | None = None
    stopped: bool = False

    @property
    def objectives(self) -> list[Objective]:
        """The primary metric's first."""
        return self.config.evaluation.objectives()

    @property
    def plan(self) -> dict[str, Any]:
        """What `Plan.to_json` said before the first trial."""
        return rec.read_plan(self.study)

    @property
    def space(self) -> SearchSpace:
        """What varied, by the folder's study file.

        Raises:
            StudyFileError: It is gone or has been changed by hand.
        """
        return _space(cfg.load(self.folder.study_file))

    def pareto(self) -> Pareto:
        """The trade-off between the objectives, of single runs; with one objective, its best trial is the front."""
        return pareto(rec.own(self.records), self.objectives)

    @property
    def exit_code(self) -> int:
        """0, or 3 where nothing is feasible or too many trials failed."""
        return DONE if self.best is not None and self.halted is None else NOTHING_FEASIBLE

    def report(self, metric: str | None = None) -> Report:
        """The study's performance analysis, which `rltune report` prints.

        Args:
            metric: The objective to look at; None for the first.

        Raises:
            InputError: No objective has that metric.
            StudyFileError: The folder's study file is gone or has been changed by hand.
        """
        return build_report(
            self.config.name,
            self.records,
            self.objectives,
            self.space,
            workers=self.config.executor.n_workers,
            n_planned=self.plan.get("n_trials"),
            recommended=self.best,
            verdict=self.verdict,
            metric=metric,
            plan=self.plan,
            full_run=full_run_of(self.config),
            origin=provenance(self.folder, rec.read_commits(self.study)),
        )

    def figure(self, name: str, metric: str | None = None) -> Figure:
        """One of the report's figures, as a Plotly figure; needs `pip install 'rltune[notebook]'`.

        Args:
            name: `history`, `curves`, `importance`, `slices`, `parallel`, `contour`, `pareto`, `timeline` or `verdict`.
            metric: The objective to look at; None for the first.

        Raises:
            InputError: There is no such figure, or no objective has that metric.
            RltuneError: Plotly is not installed.
        """
        return figure(self._report if metric is None else self.report(metric), name)

    def trials_dataframe(self) -> pd.DataFrame:
        """Every trial as a row by its number, with the columns of trials.csv; needs `pip install 'rltune[notebook]'`.

        Raises:
            RltuneError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise RltuneError("a data frame is made by pandas: pip install 'rltune[notebook]'") from error
        head, *rows = trials_table(self.records, list(self.space.parameters), self.objectives)
        return pd.DataFrame(rows, columns=head).set_index("number")

    def __repr__(self) -> str:
        try:
            return f"<{summary_text(self._report)}>"
        except RltuneError:
            return f"<study in {self.folder.path}>"

    def _repr_html_(self) -> str:
        try:
            return summary_html(self._report, self.folder.report)
        except RltuneError as error:
            return f"<pre>{escape(str(error))}</pre>"

    @cached_property
    def _report(self) -> Report:
        """Made once: importance takes seconds where there are many trials, and these do not change."""
        return self.report()


def read(path: Path) -> Result:
    """A study as its folder has it; runs nothing, writes nothing, and may be called while the study runs.

    Raises:
        FolderError: There is no study in that folder.
    """
    folder = StudyDir(path)
    if not folder.study_file.exists():
        raise FolderError(f"{path}: not a study folder (there is no {folder.study_file.name} in it)")
    config = cfg.load(folder.study_file)
    directions = [o.direction for o in config.evaluation.objectives()]
    study = open_study(config.storage, folder, config.name, directions, create=False)
    return _result(folder, config, study)


def _result(
    folder: StudyDir, config: cfg.StudyConfig, study: optuna.Study, *, halted: str | None = None, stopped: bool = False
) -> Result:
    objective, records, plan = config.evaluation.objectives()[0], rec.load(study), rec.read_plan(study)
    finals = Finals.from_json(plan["finals"]) if isinstance(plan.get("finals"), Mapping) else None
    found = verdict(records, objective, plan.get("default"), finals)
    best = recommended(rec.own(records), objective, found)  # what an earlier study measured does not win by itself
    return Result(folder, config, study, records, found, best, halted, stopped)


def _space(kept: cfg.StudyConfig) -> SearchSpace:
    """What varied, by a folder's study file: the trainer's own config, which expressions may read, stands in it."""
    given = kept.trainer.config
    known = kept.constants(given if isinstance(given, Mapping) else {})
    space = SearchSpace.from_mapping(kept.search_space, kept.constraints, kept.derived, constants=known)
    return space.with_defaults(known)


def study_dir(config: cfg.StudyConfig, out: Path | None = None) -> StudyDir:
    """Where a study lives: `out` itself, or the folder of its name under the study file's `out`."""
    return StudyDir(out if out is not None else Path(config.out) / config.name)


def prepare(config: cfg.StudyConfig, folder: StudyDir) -> Parts:
    """Everything that a run needs, built and checked; nothing is started and nothing written.

    Raises:
        StudyFileError: With every problem found, and the lines that they stand in.
    """
    try:
        return build(config, config.base, folder)
    except StudyFileError:
        raise
    except InputError as error:
        raise config.error(error.problems) from error


def run(
    config: cfg.StudyConfig,
    *,
    out: Path | None = None,
    force: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_open: Callable[[Tuner, Parts], None] = lambda _tuner, _parts: None,
    on_change: Callable[[TrialRecord], None] = lambda _record: None,
    on_fold: Callable[[TrialRecord, FoldEnd], None] = lambda _record, _end: None,
) -> Result:
    """Starts the study or goes on with it, until its plan is fulfilled or it is told to stop.

    Args:
        config: The study.
        out: The study's folder; see `study_dir`.
        force: Go on although the study file has changed in a way that makes earlier trials incomparable.
        should_stop: Asked several times a second; once it says yes, what runs is interrupted and can be resumed.
        on_open: Called once the journal is open, before the first trial of this session.
        on_change: Called whenever a trial starts or ends.
        on_fold: Called whenever a fold of a cross-validated trial has ended.

    Raises:
        StudyFileError: The study cannot be built.
        FolderError: The folder is locked, unwritable, full, or belongs to another study.
        TrainerError: The trainer cannot be loaded.
        ExecutorError: No worker can be started.
    """
    config = config.with_storage_in_place()
    folder = study_dir(config, out)
    parts = prepare(config, folder)
    folder.create()
    try:
        with folder.locked(), _stop_requests(folder, should_stop) as stopping:
            kept = parts.config.with_base_config(parts.base_config)
            if not force:
                parts = replace(parts, notes=(*parts.notes, *_accepted_changes(kept, folder)))
            tuner = parts.open_tuner(folder)
            write_atomic(folder.study_file, kept.to_yaml())
            if (head := head_of(config.base)) is not None:
                rec.add_commit(tuner.study, head.commit, modified=head.modified)
            page = LivePage(folder.report, lambda: _result(folder, config, tuner.study).report())
            trackers = Trackers(
                [(given.name, given.options) for given in config.trackers],
                folder,
                storage=config.storage,
                study=config.name,
                objectives=parts.plan.objectives,
                parameters=parts.space.parameters,
                base=config.base,
            )
            tuner.on_change, tuner.on_fold = trackers.after(page.after(on_change)), on_fold
            on_open(tuner, parts)
            with trackers:
                parts.executor.run(tuner, parts.trainer, stopping)
                tuner.close()
                result = _result(folder, config, tuner.study, halted=tuner.halted, stopped=stopping())
                write_results(
                    folder,
                    parts.space,
                    parts.plan.objectives,
                    records=result.records,
                    best=result.best,
                    verdict=result.verdict,
                    to_config=parts.trainer.config,
                    to_overrides=partial(command_line, parts.trainer),
                )
                page.write(lambda: result._report)
                if result.stopped:
                    trackers.hurry()
            return result
    except storage_errors() as error:
        raise storage_failed(error, config.storage, folder) from error


@contextmanager
def _stop_requests(folder: StudyDir, should_stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Whether to stop: because the caller says so, or `rltune stop` does, in the folder."""
    folder.stop_request.unlink(missing_ok=True)
    try:
        yield lambda: should_stop() or folder.stop_request.exists()
    finally:
        folder.stop_request.unlink(missing_ok=True)


def _accepted_changes(config: cfg.StudyConfig, folder: StudyDir) -> list[str]:
    """The folder keeps the study as it was run, in one file; another one must not go on in it unseen.

    Returns:
        What has changed and leaves trials comparable, a line each, as users are told; a default of rltune's may have.

    Raises:
        FolderError: Something else has changed.
    """
    if not folder.study_file.exists():
        return []
    changes = cfg.compare(cfg.load(folder.study_file), config)
    refused = [str(change) for change in changes if not change.free]
    if refused:
        raise FolderError(
            f"study folder {folder.path}: the study has changed since this folder was made, and its trials could "
            "not be compared with new ones:\n"
            + "\n".join(f"  {line}" for line in refused)
            + "\nChoose another folder with `--out`, take the change back, or go on all the same with `--force`."
        )
    return [f"changed since the last session: {change}" for change in changes if change.key != "out"]
