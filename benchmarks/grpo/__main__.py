"""Measures the table of GRPO trainings, or goes on with it: `python -m benchmarks.grpo`, two hours of one core.

What has been measured is packed into benchmarks/data/grpo_digits.npz at the end, or at once with `--configurations 0`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.grpo.measure import measure, read
from benchmarks.grpo.table import FILE, OBJECTIVE, pack

RAW = Path("runs/grpo_digits.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grpo", description=__doc__)
    parser.add_argument("--configurations", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--raw", type=Path, default=RAW, help="where runs are kept, a line each (default: %(default)s)")
    options = parser.parse_args()
    n = options.configurations * options.seeds
    done = len(read(options.raw))
    wanted = options.configurations
    for run in measure(options.raw, wanted, options.seeds, options.workers) if wanted else ():
        done += 1
        value = run["curves"][OBJECTIVE][-1]
        print(f"{done}/{n}  configuration {run['configuration']}, seed {run['seed']}: {value:.3f}", flush=True)
    table = pack(read(options.raw))
    print(f"{FILE}: {len(table.configurations)} configurations, {table.seconds.sum() / 3600:.1f} hours of one core")


if __name__ == "__main__":
    main()
