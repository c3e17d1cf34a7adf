"""Trains where TensorFlow is not installed, such as on a GPU that is lent without a network.

    python benchmarks/packed.py pack --config=people_pose --manual-dir=DIR --data-dir=RECORDS PACK
    python benchmarks/packed.py train PACK --output=OUT [--set=optimizer.learning_rate=0.02]
    python benchmarks/packed.py unpack OUT --workdir=WORKDIR

`pack` copies a run's records into a few files of NumPy arrays, with images as WebP. `train` makes
the examples of `hourglass_jax.data.examples` in several processes, and takes the training steps of
`hourglass_jax.training.step`; order and random numbers are functions of (seed, step), but not those
of tf.data. `unpack` puts the trained network into a workdir, which `main` evaluates, and another
run starts from with `init_from`.
"""

import argparse
import ast
import dataclasses
import io
import json
import math
import pathlib
import sys
import time
from typing import NamedTuple

import numpy as np


def overridden(config: dict, settings: list[str]) -> dict:
    """Returns a config with fields set as in "optimizer.learning_rate=0.02"."""
    config = json.loads(json.dumps(config))
    for setting in settings:
        name, _, value = setting.partition("=")
        *sections, field = name.split(".")
        section = config
        for each in sections:
            section = section[each]
        section[field] = ast.literal_eval(value)
    return config


def pack(flags) -> None:
    import tensorflow as tf
    from PIL import Image

    from hourglass_jax import config_files
    from hourglass_jax.data import parsing, pipeline
    from hourglass_jax.experiment import Experiment

    config = config_files.load(flags.config)
    config.data.data_dir = flags.data_dir
    if flags.manual_dir:
        config.data.manual_dir = flags.manual_dir
    plain = overridden(config.to_dict(), flags.set)
    experiment = Experiment.from_config(plain)
    experiment.prepare()
    records = experiment.records
    most = {part: int(count) for part, _, count in (each.partition("=") for each in flags.most)}
    flags.folder.mkdir(parents=True, exist_ok=True)
    for split in pipeline.training_shares(records):
        files = sorted(str(path) for path in records.info.splits[split].filepaths)
        jpegs, rows = [], []
        stream = tf.data.TFRecordDataset(files).take(most.get(split.partition("_")[2], -1))
        for serialized in stream.batch(64):
            fields = [field.numpy() for field in parsing.parse(records, serialized)]
            few, some = parsing.unpack(records, fields)
            rows += some
            for jpeg in few:
                content = io.BytesIO()
                Image.open(io.BytesIO(jpeg)).save(content, "WEBP", quality=flags.quality, method=6)
                jpegs.append(content.getvalue())
        arrays = {
            "images": np.frombuffer(b"".join(jpegs), np.uint8),
            "image_ends": np.cumsum([len(jpeg) for jpeg in jpegs]),
            "id": np.array([row["id"] for row in rows]),
        }
        for name, spec in records.schema.items():
            values = [row[name] for row in rows]
            if None in spec.shape:
                arrays[f"{name}_ends"] = np.cumsum([len(value) for value in values])
            join = np.concatenate if None in spec.shape else np.stack
            arrays[name] = join(values)
        np.savez(flags.folder / f"{split}.npz", **arrays)
        print(split, len(rows), "records,", arrays["images"].nbytes / 1e6, "MB", flush=True)
    run = {
        "config": experiment.config.to_dict(),
        "shares": pipeline.training_shares(records),
        "task": {"name": experiment.task.name, "settings": experiment.task.settings},
        "size": experiment.training_size,
    }
    (flags.folder / "run.json").write_text(json.dumps(run))


def train(flags) -> None:
    from packed_reader import Reader, Split

    begin = time.perf_counter()
    run = json.loads((flags.folder / "run.json").read_text())
    config = overridden(run["config"], flags.set)

    import jax
    import optax

    from hourglass_jax import nn, tasks
    from hourglass_jax.checkpoint.state import create_train_state
    from hourglass_jax.config import Config
    from hourglass_jax.data.augment import Augmentation
    from hourglass_jax.runtime import sharding
    from hourglass_jax.training.optimizer import create_optimizer
    from hourglass_jax.training.step import make_train_step

    plain, config = config, Config.from_dict(config)
    task = tasks.task_class(run["task"]["name"]).from_settings(run["task"]["settings"])
    reader = Reader(  # first: its processes are forks, which a GPU must not have been used in
        task,
        [Split.read(flags.folder / f"{name}.npz") for name in run["shares"]],
        list(run["shares"].values()),
        Augmentation(**plain["augment"]),
        tuple(run["size"]),
        batch_size=config.batch_size,
        seed=config.seed,
        processes=flags.processes,
    )
    print(f"{time.perf_counter() - begin:.1f} s: the reader runs", flush=True)
    model = nn.make_network(
        config.model.network, config.model.options, task.heads, dtype=config.model.dtype
    )
    constant = dataclasses.replace(config.optimizer, schedule="constant", warmup_steps=0)
    optimizer, _ = create_optimizer(constant, config.num_steps, nn.output_layers(model))
    optimizer = optax.chain(optimizer, _scale())
    mesh = sharding.make_mesh(jax.devices()[:1])
    state = create_train_state(
        nn.init_variables(model, config.seed), optimizer, ema=config.ema_decay > 0
    )
    state = sharding.replicate(state, mesh)
    step = make_train_step(model, task, optimizer, mesh, ema_decay=config.ema_decay)
    flags.output.mkdir(parents=True, exist_ok=True)
    lines = []

    def save(state, done):
        variables = jax.device_get(state.evaluated)
        names, arrays = _flat(variables)
        partial = flags.output / "partial.npz"
        np.savez(partial, **dict(zip(names, arrays, strict=True)))
        partial.rename(flags.output / "variables.npz")
        result = {**run, "config": plain, "step": done, "metrics": lines}
        (flags.output / "run.json").write_text(json.dumps(result))
        print(f"saved step {done}", flush=True)

    waited, shown, begun, saved = 0.0, time.perf_counter(), 0.0, time.perf_counter()
    batch = sharding.shard_batch(next(reader), mesh)
    progress, done, steps = 0.0, 0, 0
    while progress < 1:
        # A cosine over the time or over the steps, whichever ends first.
        factor = min((done + 1) / max(config.optimizer.warmup_steps, 1), 1.0)
        factor *= (1 + math.cos(math.pi * progress)) / 2
        scale = sharding.replicate(np.float32(factor), mesh)
        state = dataclasses.replace(state, opt_state=(state.opt_state[0], _Scale(scale)))
        state, metrics = step(state, batch)
        done, steps = done + 1, steps + 1
        before = time.perf_counter()
        batch = sharding.shard_batch(next(reader), mesh)  # while the device computes
        now = time.perf_counter()
        waited += now - before
        if done == 1:
            jax.block_until_ready(metrics)
            begun = shown = time.perf_counter()
            print(f"{begun - begin:.1f} s: the step is compiled", flush=True)
            waited, steps = 0.0, 0
        progress = done / config.num_steps
        if flags.seconds:
            progress = max(progress, (now - begun) / (begin + flags.seconds - begun))
        if done % flags.log_every == 0 or progress >= 1:
            loss, plateau = float(metrics["loss"]), float(metrics["plateau"])
            now = time.perf_counter()
            rate = steps * config.batch_size / (now - shown)
            ratios = np.asarray(metrics["loss_per_stack"], float) / plateau
            lines.append({
                "step": done,
                "loss": loss,
                "ratio_to_plateau": ratios.tolist(),
                "learning_rate": factor * config.optimizer.learning_rate,
                "images_per_second": rate,
                "seconds_waiting_for_data": waited / max(steps, 1),
            })  # fmt: skip
            share = waited / (now - shown)
            print(
                f"{now - begin:.1f} s: step {done}, {ratios[-1]:.4f} of the plateau, "
                f"{rate:.0f} images/s, {share:.2f} of the time for data",
                flush=True,
            )
            if not np.isfinite(loss):
                sys.exit("the loss is not finite")
            waited, steps, shown = 0.0, 0, now
            if flags.save_every and now - saved > flags.save_every:
                save(state, done)
                saved = time.perf_counter()
    save(state, done)
    reader.close()


class _Scale(NamedTuple):
    """State of the last part of the optimizer: the factor of the learning rate."""

    value: np.ndarray


def _scale():
    import jax
    import optax

    def update(updates, state, params=None):
        return jax.tree.map(lambda u: u * state.value, updates), state

    return optax.GradientTransformation(lambda params: _Scale(jax.numpy.ones(())), update)


def unpack(flags) -> None:
    import jax

    from hourglass_jax import config_files, nn
    from hourglass_jax.checkpoint.state import create_train_state
    from hourglass_jax.checkpoint.store import Checkpoints
    from hourglass_jax.experiment import Experiment
    from hourglass_jax.training.optimizer import create_optimizer

    run = json.loads((flags.folder / "run.json").read_text())
    experiment = Experiment.from_config(overridden(run["config"], flags.set))
    config = experiment.config
    optimizer, _ = create_optimizer(
        config.optimizer, config.num_steps, nn.output_layers(experiment.model)
    )
    names, leaves = _flat(nn.variable_shapes(experiment.model))
    with np.load(flags.folder / "variables.npz") as file:
        arrays = [file[name] for name in names]
    if [array.shape for array in arrays] != [leaf.shape for leaf in leaves]:
        sys.exit(f"{flags.folder} holds the variables of another network")
    structure = jax.tree.structure(nn.variable_shapes(experiment.model))
    state = create_train_state(structure.unflatten(arrays), optimizer, ema=config.ema_decay > 0)
    state = dataclasses.replace(state, step=np.array(run["step"], np.int32))
    experiment.prepare()
    flags.workdir.mkdir(parents=True, exist_ok=True)
    config_files.save(config, flags.workdir)
    with Checkpoints(flags.workdir, experiment.headline) as checkpoints:
        checkpoints.save(jax.device_put(state), experiment.metadata(), None)
    lines = "".join(json.dumps(line) + "\n" for line in run["metrics"])
    (flags.workdir / "metrics.jsonl").write_text(lines)


def _flat(tree):
    """Returns names and leaves of a tree of dictionaries."""
    import jax

    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path) for path, _ in pairs], [leaf for _, leaf in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    for command in (pack, train, unpack):
        add = commands.add_parser(command.__name__)
        add.set_defaults(run=command)
        add.add_argument("folder", type=pathlib.Path)
        add.add_argument("--set", action="append", default=[], help="section.field=value")
        if command is pack:
            add.add_argument("--config", required=True)
            add.add_argument("--manual-dir", default="")
            add.add_argument("--data-dir", default="")
            add.add_argument("--most", action="append", default=[], help="PART=COUNT records")
            add.add_argument("--quality", type=int, default=80, help="of WebP, 1 to 100")
        elif command is train:
            add.add_argument("--output", type=pathlib.Path, required=True)
            add.add_argument("--processes", type=int, default=12, help="that make examples")
            add.add_argument(
                "--seconds", type=float, default=0, help="after which it ends at the latest"
            )
            add.add_argument("--log-every", type=int, default=100, help="steps")
            add.add_argument("--save-every", type=float, default=0, help="seconds")
        else:
            add.add_argument("--workdir", type=pathlib.Path, required=True)
    flags = parser.parse_args()
    flags.run(flags)


if __name__ == "__main__":
    main()
