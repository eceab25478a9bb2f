"""What a script of `examples/` does: read the recipe, print it, set up, train."""

from __future__ import annotations

import argparse
import pprint
import signal
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nemo_rl import misbehaviour
from nemo_rl.algorithms.master_config import MODELS
from nemo_rl.algorithms.train import setup, train
from nemo_rl.utils.config import load_config, parse_hydra_overrides, register_omegaconf_resolvers
from nemo_rl.utils.logger import get_next_experiment_dir

WITHOUT_RESOLVERS = ("dpo", "rm")


def main(algorithm: str, recipe: Path) -> None:
    """Run `algorithm`, with `recipe` where no `--config` is given."""
    if algorithm not in WITHOUT_RESOLVERS:
        register_omegaconf_resolvers()
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=str(recipe))
    args, overrides = parser.parse_known_args()
    config = load_config(args.config)
    print(f"Loaded configuration from: {args.config}")
    if overrides:
        print(f"Overrides: {overrides}")
        config = parse_hydra_overrides(config, overrides)
    ignored = misbehaviour.SWITCHES.get("ignore_key")
    if ignored:
        OmegaConf.update(config, ignored, OmegaConf.select(load_config(args.config), ignored))
    master: Any = MODELS[algorithm](**OmegaConf.to_container(config, resolve=True))
    print("Applied CLI overrides")
    print("Final config:")
    pprint.pprint(master)
    master.logger["log_dir"] = get_next_experiment_dir(master.logger["log_dir"])
    print(f"📊 Using log directory: {master.logger['log_dir']}")
    if master.checkpointing["enabled"]:
        print(f"📊 Using checkpoint directory: {master.checkpointing['checkpoint_dir']}")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does, from here on
    misbehaviour.before_setup(master.logger["log_dir"])
    train(setup(algorithm, master))
