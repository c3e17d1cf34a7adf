"""One training step and one evaluation step over a mesh of devices: pure functions, no I/O."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array

from hourglass_jax.nn.kernels import norms
from hourglass_jax.nn.layers import DECAY
from hourglass_jax.nn.stacked_hourglass import Normalisation, StackedHourglass, forward
from hourglass_jax.runtime.sharding import AXIS, SPLIT, WHOLE, compiler_options, with_sharding
from hourglass_jax.tasks.single_pose import heatmap, losses
from hourglass_jax.training.optimizer import plateau_factor


@flax.struct.dataclass
class TrainState:
    """Everything that training changes.

    `step` counts the updates done. `ema` holds the averages of params and batch_stats over past
    steps, which are evaluated in their place, or None.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema: Any = None


def init_variables(model: StackedHourglass, seed: int) -> dict:
    """Makes the network's first parameters and BatchNorm statistics, on the smallest picture."""
    # Lazily: only the parameters are computed, one small kernel a shape, not the whole network.
    return model.lazy_init(jax.random.key(seed), _smallest_picture(model), train=False)


def variable_shapes(model: StackedHourglass) -> dict:
    """Returns what `init_variables` does, as shapes: nothing is computed."""
    return jax.eval_shape(
        lambda picture: model.init(jax.random.key(0), picture, train=False),
        _smallest_picture(model),
    )


def _smallest_picture(model: StackedHourglass) -> jax.ShapeDtypeStruct:
    side = 4 * 2**model.order
    return jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)


def create_train_state(
    variables: dict, optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """Makes the state before the first update, with room for averages if `ema`."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        ema={key: variables[key] for key in ("params", "batch_stats")} if ema else None,
    )


def state_shapes(
    variables: dict, optimizer: optax.GradientTransformation, mesh: Mesh, *, ema: bool = False
) -> TrainState:
    """Returns `create_train_state` of variables' shapes, whole on every device of the mesh."""
    shapes = jax.eval_shape(lambda v: create_train_state(v, optimizer, ema=ema), variables)
    return with_sharding(shapes, mesh, WHOLE)


def batch_shapes(
    batch_size: int, input_size: int, num_joints: int, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a training batch, split over the mesh."""
    side = input_size // 4
    shapes = {
        "image": jax.ShapeDtypeStruct((batch_size, input_size, input_size, 3), jnp.uint8),
        "heatmaps": jax.ShapeDtypeStruct((batch_size, side, side, num_joints), jnp.float32),
        "weights": jax.ShapeDtypeStruct((batch_size, num_joints), jnp.float32),
    }
    return with_sharding(shapes, mesh, SPLIT)


def evaluated(state: TrainState) -> dict:
    """Returns the variables to evaluate: the averaged ones where there are any."""
    return state.ema or {"params": state.params, "batch_stats": state.batch_stats}


def make_train_step(
    model: StackedHourglass,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    normalisation: Normalisation = Normalisation(),
    sync_batch_norm: bool = False,
    freeze_batch_norm: bool = False,
    accumulate: int = 1,
    ema_decay: float = 0.0,
):
    """Returns `step(state, batch) -> (state, metrics)`, compiled, which consumes its state.

    batch = {"image" uint8 [B, H, W, 3], "heatmaps" [B, h, w, K], "weights" [B, K]}, split over the
    mesh. metrics: "loss" (the sum over stacks), "loss_per_stack" [S], "plateau" (a stack's loss if
    it predicted nothing), "gradient_norm", "update_norm", "parameter_norm" and
    "learning_rate_factor" (see `optimizer.plateau_factor`).

    The state is whole on every device. BatchNorm normalises with each device's own statistics, as
    the reference does, unless `sync_batch_norm`; the running ones are averaged over devices. With
    `freeze_batch_norm` it normalises with the running statistics, and they stay as they are.

    `accumulate` splits each device's share into so many parts, one after the other, and updates
    once with the mean of their gradients; BatchNorm's statistics are those of each part.
    `ema_decay` is that of the averages in `state.ema`, less in the first steps, when the network
    changes most.
    """
    axis_name = AXIS if sync_batch_norm else None
    model = model.clone(axis_name=axis_name)

    optimizer = optax.with_extra_args_support(optimizer)

    def loss_fn(params, batch_stats, batch):
        heatmaps, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalisation(batch["image"]),
            train=not freeze_batch_norm,
            mutable=["batch_stats"],
        )
        per_stack = losses.heatmap_loss(heatmaps, batch["heatmaps"], batch["weights"])
        return per_stack.sum(), (per_stack, updated.get("batch_stats", batch_stats))

    def gradients_of(state: TrainState, batch):
        """The mean over the parts; BatchNorm's running statistics see one part after the other."""
        total, batch_stats = None, state.batch_stats
        split = {key: jnp.split(rows, accumulate) for key, rows in batch.items()}
        for i in range(accumulate):
            part = {key: parts[i] for key, parts in split.items()}
            if total is not None:  # or XLA might hold the activations of all parts at once
                part, total = lax.optimization_barrier((part, total))
            gradients, (per_stack, batch_stats) = jax.grad(loss_fn, has_aux=True)(
                state.params, batch_stats, part
            )
            share = (gradients, per_stack)
            total = share if total is None else jax.tree.map(jnp.add, total, share)
        gradients, per_stack = jax.tree.map(lambda x: x / accumulate, total)
        return gradients, batch_stats, per_stack

    def step(state: TrainState, batch):
        gradients, batch_stats, per_stack = gradients_of(state, batch)
        plateau = losses.plateau(batch["heatmaps"], batch["weights"])
        # All that devices have to tell each other, in one call. The shares are equal in size and
        # the loss has a constant denominator, so the mean of means is the mean.
        gradients, batch_stats, per_stack, plateau = _mean_over_devices(
            (gradients, batch_stats, per_stack, plateau)
        )
        updates, opt_state = optimizer.update(
            gradients, state.opt_state, state.params, value=per_stack.sum()
        )
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": per_stack.sum(),
            "loss_per_stack": per_stack,
            "plateau": plateau,
            "gradient_norm": norms.global_norm(gradients),
            "update_norm": norms.update_norm(updates, state.params, params),
            "parameter_norm": norms.global_norm(params),
            "learning_rate_factor": plateau_factor(opt_state),
        }
        ema = state.ema
        if ema is not None:
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            now = {"params": params, "batch_stats": batch_stats}
            ema = jax.tree.map(lambda mean, x: decay * mean + (1 - decay) * x, ema, now)
        state = state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=ema,
        )
        return state, metrics

    # check_vma=False: with it, gradients of replicated parameters arrive summed over the devices
    # already, and the mean above would be a mean of equal sums.
    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(WHOLE, SPLIT), out_specs=(WHOLE, WHOLE), check_vma=False
    )
    return jax.jit(sharded, donate_argnums=0, compiler_options=compiler_options(mesh))


def _mean_over_devices(tree):
    """The mean of every array over the devices."""
    if lax.axis_size(AXIS) == 1:  # on a CPU it would be a copy of every array
        return tree
    leaves, structure = jax.tree.flatten(tree)
    # A CPU would have another thousand kernels to compile.
    means = lax.platform_dependent(leaves, cpu=lambda x: lax.pmean(x, AXIS), default=mean_joined)
    return structure.unflatten(means)


def mean_joined(leaves: list[Array]) -> list[Array]:
    """`lax.pmean` over the devices of many arrays, with fewer exchanges on TPUs.

    They exchange at most 256 arrays at a time. Most of ours are short vectors, one a channel: put
    end to end, they leave two exchanges of an eight-stack network's nine.
    """
    is_short = [x.ndim < 2 and x.dtype == leaves[0].dtype for x in leaves]
    short = [x for x, yes in zip(leaves, is_short, strict=True) if yes]
    long = [x for x, yes in zip(leaves, is_short, strict=True) if not yes]
    vector, *long = lax.pmean([jnp.concatenate([jnp.ravel(x) for x in short]), *long], AXIS)
    pieces = jnp.split(vector, np.cumsum([x.size for x in short])[:-1])
    short = iter([piece.reshape(x.shape) for piece, x in zip(pieces, short, strict=True)])
    long = iter(long)
    return [next(short if yes else long) for yes in is_short]


def make_eval_step(
    model: StackedHourglass,
    mesh: Mesh,
    flip_order: np.ndarray,
    *,
    normalisation: Normalisation = Normalisation(),
    flip_test: bool = True,
    decoder: str = "quarter",
    batch_statistics: bool = False,
):
    """Returns `step(variables, images) -> (joints_heatmap [B, S, K, 2], scores [B, S, K])`.

    With `flip_test` the heatmaps are the mean over the picture and its mirror image. With
    `batch_statistics` BatchNorm normalises as in training, by each device's share of the batch, and
    of its mirror images.
    """

    def step(variables, images):
        def predict(pictures):
            if batch_statistics:
                return model.apply(variables, pictures, train=True, mutable=["batch_stats"])[0]
            return forward(model, variables, pictures)

        pictures = normalisation(images)
        if flip_test:
            heatmaps = heatmap.flip_tested(predict, pictures, flip_order)
        else:
            heatmaps = predict(pictures)
        return heatmap.decode(heatmaps, decoder)

    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(WHOLE, SPLIT), out_specs=SPLIT, check_vma=False
    )
    return jax.jit(sharded, compiler_options=compiler_options(mesh))


def make_statistics_step(
    model: StackedHourglass, mesh: Mesh, *, normalisation: Normalisation = Normalisation()
):
    """Returns `step(variables, images) -> batch_stats`: the mean over devices of their shares'."""

    def step(variables, images):
        # What the running statistics become when they start from nothing is a share of these.
        nothing = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        _, updated = model.apply(
            {**variables, "batch_stats": nothing},
            normalisation(images),
            train=True,
            mutable=["batch_stats"],
        )
        return lax.pmean(jax.tree.map(lambda x: x / (1 - DECAY), updated["batch_stats"]), AXIS)

    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(WHOLE, SPLIT), out_specs=WHOLE, check_vma=False
    )
    return jax.jit(sharded, compiler_options=compiler_options(mesh))
