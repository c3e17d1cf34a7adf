"""The mesh of devices, and how state and batches lie on it.

Data parallelism over one axis: every device holds the whole state and its share of each batch.
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"
REPLICATED, SHARDED = P(), P(AXIS)  # how state and batches lie on the mesh


# XLA's options for compiling a step, by platform or kind of device.
_OPTIONS = {
    "cpu": {
        # XLA's library for CPUs, YNNPACK, is quick at sums but slower than XLA's own kernels at
        # convolutions and products: with it for sums alone a step takes two thirds of the time.
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
        # This pass removes the barriers that keep values from being stored instead of recomputed.
        "xla_disable_hlo_passes": "cse_barrier_expander",
    },
    # Gradients of up to 512 MB are summed by one all-reduce. By default arrays of 64 MB are summed
    # one by one: eight all-reduces for Hourglass-104, three with this.
    "tpu": {"xla_jf_crs_combiner_threshold_in_bytes": str(2**29)},
    # v5e: half of its 128 MB of fast memory for operations, where 16 MB are the default. The rest
    # holds prefetched data, which are moved once more than without it.
    "TPU v5 lite": {"xla_tpu_scoped_vmem_limit_kib": "65536"},
}


# jaxlib has no stubs for `jax.Device`, so that pyright takes it for a variable.
def compiler_options(
    target: Mesh | jax.Device,  # pyright: ignore[reportInvalidTypeForm]
) -> dict[str, str]:
    """Returns XLA's options for compiling for a mesh, or for a device."""
    device = target.devices.flat[0] if isinstance(target, Mesh) else target
    return {**_OPTIONS.get(device.platform, {}), **_OPTIONS.get(device.device_kind, {})}


def make_mesh(
    devices: list[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
    """Returns the one-axis mesh over all devices of all processes, or over those given."""
    devices = jax.devices() if devices is None else devices
    # Without `axis_types` the axes would be Explicit, and every array would carry its sharding.
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree, mesh: Mesh):
    """Puts a copy of every array of the tree on every device of the mesh.

    The copies share no memory with `tree`: otherwise a train step, which consumes its state, would
    delete the caller's arrays.
    """
    sharding = NamedSharding(mesh, REPLICATED)

    def put(x):
        host = np.asarray(x)
        # Each process makes its own devices' copies: no array crosses the network.
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index].copy())

    return jax.tree.map(put, tree)


def with_sharding(shapes, mesh: Mesh, spec: P):
    """Returns shapes together with their sharding on the mesh."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def shard_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Makes global arrays of this process's rows, split over the devices along the first axis."""
    sharding = NamedSharding(mesh, SHARDED)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def local_rows(x: jax.Array) -> np.ndarray:
    """Returns the rows of a split array that lie on this process's devices, in order."""
    shards = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def compile_step(step: Callable, mesh: Mesh, *, in_specs, out_specs, donate: bool = False):
    """Compiles a function of one device's shares to a function of global arrays.

    Args:
      step: function of one device's share of what is sharded.
      mesh: mesh of devices.
      in_specs: how each argument lies on the mesh, `REPLICATED` or `SHARDED`.
      out_specs: how each result lies on the mesh.
      donate: whether the first argument may be overwritten.
    """
    # check_vma=False: with it, gradients of replicated parameters arrive summed over the devices
    # already, and a mean of them would be a mean of equal sums.
    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    donated = (0,) if donate else ()
    return jax.jit(sharded, donate_argnums=donated, compiler_options=compiler_options(mesh))
