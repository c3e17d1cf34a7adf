"""Global norms of a thousand small arrays, computed in the fastest way on each platform.

`optax.tree.norm` sums array by array, which TPUs fuse well. On GPUs every sum is a kernel launch,
and sums that are fused with updates prevent updates in place; this causes half of a step's
launches. On CPUs every sum is a loop to compile, which takes half of the compilation time.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels.platform import by_platform

_PIECE = 32  # arrays that a GPU concatenates: the number of a kernel's arguments is limited


def global_norm(tree) -> Float[Array, ""]:
    """Returns the square root of the sum of the squares of all elements."""
    leaves = jax.tree.leaves(tree)
    return by_platform(optax.tree.norm, cpu=_of_vector, gpu=by_pieces)(leaves)


def update_norm(updates, before, after) -> Float[Array, ""]:
    """Returns the global norm of an update; on CPUs, of the difference of the parameters.

    On CPUs the updates then need not be written to memory, and the training step of two stacks
    compiles in nine tenths of the time.

    Args:
      updates: tree of updates.
      before: parameters before the update, a tree of the same structure.
      after: before + updates.
    """
    leaves = [jax.tree.leaves(tree) for tree in (updates, before, after)]
    return by_platform(
        lambda updates, before, after: optax.tree.norm(updates),
        cpu=lambda updates, before, after: jnp.linalg.norm(_vector(after) - _vector(before)),
        gpu=lambda updates, before, after: by_pieces(updates),
    )(*leaves)


def by_pieces(leaves: list[Array]) -> Float[Array, ""]:
    """Returns the global norm, with one sum for many arrays, which XLA reads without copying."""
    # Similar sizes together: the largest array of a piece sets the kernel's width.
    leaves = sorted(leaves, key=lambda x: x.size)
    pieces = [_vector(leaves[i : i + _PIECE]) for i in range(0, len(leaves), _PIECE)]
    return jnp.sqrt(sum(jnp.sum(piece**2) for piece in pieces))


def _of_vector(leaves: list[Array]) -> Float[Array, ""]:
    return jnp.linalg.norm(_vector(leaves))


def _vector(leaves: list[Array]) -> Float[Array, " numbers"]:
    return lax.concatenate([lax.reshape(x, (x.size,)) for x in leaves], 0)
