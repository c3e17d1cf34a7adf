"""Global norms of a thousand small arrays, as each platform computes them fastest.

`optax.tree.norm` sums array by array. TPUs fuse that well. On a GPU every sum is a kernel to be
launched, and sums that are fused with updates keep those from being written in place: half of a
step's launches. On a CPU every sum is a loop to be compiled: half of the compilation.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels.platform import by_platform

_PIECE = 32  # arrays that a GPU puts end to end: a kernel takes only so many


def global_norm(tree) -> Float[Array, ""]:
    """Returns the square root of the sum of all squares."""
    leaves = jax.tree.leaves(tree)
    return by_platform(optax.tree.norm, cpu=_of_vector, gpu=by_pieces)(leaves)


def update_norm(updates, before, after) -> Float[Array, ""]:
    """Returns the global norm of an update, on CPUs that of the change of the parameters.

    There an update that nothing else needs is not written to memory, and the step of two stacks
    compiles in nine tenths of the time.

    Args:
      updates: a tree of arrays.
      before: the parameters, a tree of the same structure.
      after: before + updates.
    """
    leaves = [jax.tree.leaves(tree) for tree in (updates, before, after)]
    return by_platform(
        lambda updates, before, after: optax.tree.norm(updates),
        cpu=lambda updates, before, after: jnp.linalg.norm(_vector(after) - _vector(before)),
        gpu=lambda updates, before, after: by_pieces(updates),
    )(*leaves)


def by_pieces(leaves: list[Array]) -> Float[Array, ""]:
    """Returns `optax.tree.norm`, with one sum for many arrays, which XLA reads where they are."""
    leaves = sorted(leaves, key=lambda x: x.size)  # a piece is as wide as its largest array
    pieces = [_vector(leaves[i : i + _PIECE]) for i in range(0, len(leaves), _PIECE)]
    return jnp.sqrt(sum(jnp.sum(piece**2) for piece in pieces))


def _of_vector(leaves: list[Array]) -> Float[Array, ""]:
    return jnp.linalg.norm(_vector(leaves))


def _vector(leaves: list[Array]) -> Float[Array, " numbers"]:
    return lax.concatenate([lax.reshape(x, (x.size,)) for x in leaves], 0)
