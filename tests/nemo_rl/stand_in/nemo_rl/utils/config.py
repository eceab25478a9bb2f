"""Recipes: `defaults:` inheritance, resolvers, and overrides by Hydra's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


class OverridesError(Exception):
    """An override that cannot be read, or names a key that is not there."""


def load_config(path: str | Path) -> DictConfig:
    """A recipe merged over its parents, depth first: later parents win over earlier ones, the recipe over all."""
    config = OmegaConf.load(path)
    parents = config.pop("defaults", [])
    base = OmegaConf.create({})
    for parent in [parents] if isinstance(parents, str) else parents:
        base = _merged(base, load_config(Path(path).parent / parent))
    return _merged(base, config)


def _merged(base: DictConfig, config: DictConfig) -> DictConfig:
    """`config` over `base`; a section with `_override_: true` replaces what was there."""
    for key, section in list(config.items_ex(resolve=False)):
        if isinstance(section, DictConfig) and section.get("_override_", False):
            section.pop("_override_")
            base.pop(key, None)
    return OmegaConf.merge(base, config)


def parse_hydra_overrides(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Raises OverridesError, for an unknown key as well: the recipe is in struct mode."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        OmegaConf.set_struct(cfg, True)
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        ConfigLoaderImpl._apply_overrides_to_config(overrides=parsed, cfg=cfg)
    except Exception as error:
        raise OverridesError(f"Failed to parse Hydra overrides: {error}") from error
    return cfg


def register_omegaconf_resolvers() -> None:
    resolvers: dict[str, Any] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "max": max,
    }
    for name, resolver in resolvers.items():
        if not OmegaConf.has_resolver(name):
            OmegaConf.register_new_resolver(name, resolver)
