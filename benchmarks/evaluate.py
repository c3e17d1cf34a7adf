"""How much does an evaluation add to the network's own forward passes?

    python benchmarks/evaluate.py [--rounds=5]

The 500 drawn validation people of configs/synthetic.py with the flip test, from their records to
the figures (reading, decoding of images and heatmaps, and metrics included, compilation left
out), against two forward passes a person of the bare jitted network at the same batch size.
Alternates both; prints seconds, their ratio round by round, and a JSON line.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    import jax
    import jax.numpy as jnp
    from alternate import spread

    from hourglass_jax import config_files, nn
    from hourglass_jax.evaluation.predictions import Predictor
    from hourglass_jax.evaluation.step import make_eval_step
    from hourglass_jax.experiment import Experiment
    from hourglass_jax.runtime import sharding, startup

    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    config = config_files.load("synthetic")
    config.data.num_train = 50
    with tempfile.TemporaryDirectory() as folder:
        config.data.data_dir = folder
        experiment = Experiment.from_config(config)
        experiment.prepare()
        size, people = config.eval.batch_size, config.data.num_validation
        model, task, mesh = experiment.model, experiment.task, experiment.mesh
        variables = sharding.replicate(nn.init_variables(model, config.seed), mesh)
        predict, eval_step = Predictor.of(experiment), make_eval_step(model, task, mesh)
        metrics = task.metrics(experiment.source, "validation")
        network = jax.jit(model.apply, compiler_options=sharding.compiler_options(mesh))
        images = jnp.zeros((size, *experiment.size, 3))

        def evaluate():
            predict(eval_step, variables, "validation").figures(metrics)

        def forward():
            for _ in range(2 * -(-people // size)):
                network(variables, images).block_until_ready()

        times = {evaluate: [], forward: []}
        for i in range(rounds + 1):
            for what, seconds in times.items():
                start = time.perf_counter()
                what()
                if i:  # the first compiles
                    seconds.append(time.perf_counter() - start)
    ratio = [a / b for a, b in zip(times[evaluate], times[forward], strict=True)]
    print(f"evaluation of {people}: {spread(times[evaluate])} s")
    print(f"forward passes:    {spread(times[forward])} s")
    print(f"ratio:             {spread(ratio)}")
    print(json.dumps({"ratio": statistics.median(ratio)}))


if __name__ == "__main__":
    main()
