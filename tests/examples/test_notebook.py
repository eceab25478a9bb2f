"""The example notebook runs from top to bottom, and shows what it says."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs pip install 'rltune[dev]'")
for package in ("nbclient", "ipykernel", "plotly", "pandas"):
    if find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install 'rltune[dev]'", allow_module_level=True)

FILE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
VERDICT = r"(Ship trial \d+|Keep your default)"


def read():
    return nbformat.read(FILE, as_version=4)


def shown(notebook, kind):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def looks_right(notebook):
    assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type in ("error", "stream")]
    summary, table = shown(notebook, "text/html")
    assert re.search(VERDICT, summary)
    assert "learning_rate" in summary
    assert table.count("<tr") > 5
    history, slices, verdict = (figure["data"] for figure in shown(notebook, PLOTLY))
    assert {"best so far", "complete"} <= {trace.get("name") for trace in history}
    assert len({trace.get("xaxis") for trace in slices}) == 3
    assert {"default", "default: mean ± sd"} <= {trace.get("name") for trace in verdict}


def test_what_it_keeps_is_of_a_run_of_this_very_notebook():
    notebook = read()
    nbformat.validate(notebook)
    looks_right(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert FILE.stat().st_size < 100_000
    assert not re.search(r"/(home|root|tmp|work)/", FILE.read_text(encoding="utf-8"))


EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
nbformat.write(notebook, "executed.ipynb")
"""
"""In a process of its own: Jupyter leaves sockets behind."""


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path):
    own = {"PLOTLY_RENDERER": "plotly_mimetype", "IPYTHONDIR": str(tmp_path / "ipython")}
    words = [sys.executable, "-c", EXECUTE, FILE]
    env = {**os.environ, **own}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    looks_right(nbformat.read(tmp_path / "executed.ipynb", as_version=4))
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()
