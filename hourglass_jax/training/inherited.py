"""The network of a run that fine-tunes: that of the checkpoint, with `config.init_network`."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from hourglass_jax import rules
from hourglass_jax.checkpoint import integrity, store, trained
from hourglass_jax.config import Config, Model
from hourglass_jax.runtime import paths

logger = logging.getLogger(__name__)


def with_network(
    config: Config | Mapping[str, Any], workdir: pathlib.Path, given: Collection[str] = ()
) -> Config:
    """Returns the config with the network of `init_from`, if `init_network` asks for it.

    Records keep at least the resolution of the network's input. A run that continues has the
    network that it began with, even if `init_from` is gone.

    Args:
      config: config of the run.
      workdir: workdir of the run.
      given: names of fields that keep their values, such as "model.input_size"; with another
        `model.network` or `model.preset`, all of them do.

    Raises:
      UserError: the config has an unknown field, or `init_from` cannot be read.
    """
    config = Config.from_dict(config)
    if not (config.init_network and config.init_from):
        return config
    config = dataclasses.replace(config, init_network=False)
    if {"model.network", "model.preset"} & set(given):
        return config
    saved, origin = _of_run(workdir), str(workdir)
    if saved is None:
        saved, origin = _of_checkpoint(config.init_from), config.init_from
    now = rules.to_dict(config.model)
    kept = {name: value for name, value in now.items() if f"model.{name}" in given}
    shared = {name: now[name] for name in ("dtype", "remat")}
    model = rules.section(Model, {**saved, **shared, **kept}, "model.")
    logger.info(
        "the network is that of %s: %s",
        origin,
        ", ".join(f"{name}={value}" for name, value in rules.to_dict(model).items() if value),
    )
    data = config.data
    if "data.resolution" not in given:
        data = dataclasses.replace(data, resolution=max(data.resolution, model.input_size))
    return dataclasses.replace(config, model=model, data=data)


def _of_checkpoint(init_from: str) -> dict[str, Any]:
    """Returns the fields of `model` for the network in a checkpoint."""
    where = "config.init_from"
    metadata = store.read_metadata(trained.locate(paths.path(init_from, where), where))
    network, config = metadata["network"], metadata["config"].get("model", {})
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in network["options"].items()
    }
    return {
        "network": network["name"],
        "preset": config.get("preset", ""),
        "input_size": network["input_size"],
        "training_size": config.get("training_size", 0),
        **options,
    }


def _of_run(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Returns the fields of `model` of a run that has checkpoints; None if there is none."""
    try:
        config = json.loads((workdir / "config.json").read_text("utf-8"))
        saved = config["model"] if integrity.steps_in(workdir / "checkpoints") else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return saved if isinstance(saved, dict) else None
