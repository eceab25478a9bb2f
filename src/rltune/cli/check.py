"""`check`: what a study file would run, without running it."""

from __future__ import annotations

import contextlib
import shlex
import sys

from rltune.cli.arguments import Force, Json, Out, Set, StudyFile, Trainer


def check(
    study: StudyFile,
    *,
    set_: Set = None,
    trainer: Trainer = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Check a study file, and show what it would run.

    No training is started and nothing is written. Draws five configurations and prints the very commands that would
    run. Every error of the file is listed with its line; with errors it ends with 2.
    """
    from rltune import config as cfg
    from rltune import session
    from rltune.cli.views import console
    from rltune.cli.views.preview import preview, preview_json, preview_text

    config = cfg.load(study, set_ or (), trainer=trainer)
    folder = session.study_dir(config, out)
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints when it is imported
        seen = preview(session.prepare(config, folder), folder, force=force)
    if json:
        console.print_json(preview_json(seen))
        return
    stdout = console.out()
    console.print_all(stdout, preview_text(seen))
    command = shlex.join(["rltune", "run", *sys.argv[2:]])
    stdout.print(f"\nno errors; start it with `{command}`", style="green")
