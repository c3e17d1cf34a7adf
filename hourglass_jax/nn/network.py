"""What networks have in common: what a caller may ask of one, and how to initialise and run it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from hourglass_jax.nn.kernels.platform import by_platform


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Subtracts a mean per channel from images in [0, 1]; the paper's network has none."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(
        self, images: UInt8[Array, "batch height width 3"]
    ) -> Float[Array, "batch height width 3"]:
        return images / 255.0 - jnp.asarray(self.mean).reshape(1, 1, 1, 3)


class Network(Protocol):
    """A network: a Flax module with these attributes and methods.

    Attributes:
      Options: a frozen dataclass made with `rules.field`: the fields of a config's `model` that
        only this network has.
      stride: px of the input a px of the outputs.
      channel_axes: (module, parameter) -> the axis of that parameter along which the outputs'
        channels lie; fine-tuning matches them by name.
      normalisation: of the input. The caller applies it:
        `network.apply(variables, network.normalisation(images))`.
      dtype: of the computation; None: that of the parameters and images.
      axis_name: of the devices that share BatchNorm's statistics in training; None: each its own.
    """

    Options: ClassVar[type]
    stride: ClassVar[int]
    channel_axes: ClassVar[Mapping[tuple[str, str], int]]
    normalisation: Normalisation
    dtype: Any
    axis_name: str | None

    @classmethod
    def from_options(cls, options: Any, heads: Mapping[str, Any], **fields) -> "Network":
        """Returns a network whose output channels are those of the heads, one after the other.

        Args:
          options: an `Options`.
          heads: name -> `tasks.base.Head`.
          fields: dtype, remat and normalisation.

        Raises:
          UserError: a head needs features that the network does not compute.
        """
        ...

    def valid_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the largest input size within the given one that the network takes.

        Where there is none, the smallest that it takes at all: `valid_size(0, 0)` is that.
        """
        ...

    def apply(
        self, variables: Mapping, images: Float[Array, "batch height width 3"], **options
    ) -> Any:
        """Returns the outputs [batch, stacks, height / stride, width / stride, channels].

        `stacks` predictions one after the other, of which the last is the best. With `train=True`
        and `mutable=["batch_stats"]` returns the outputs and the updated statistics.
        """
        ...

    def init(self, rngs: Array, images: Any, **options) -> Any:
        """Returns the first variables, {"params", "batch_stats"}."""
        ...

    def lazy_init(self, rngs: Array, images: Any, **options) -> Any:
        """Returns what `init` does from the shape of `images`, and computes no outputs."""
        ...

    def clone(self, **fields) -> "Network":
        """Returns a copy in which some fields differ."""
        ...


def init_variables(model: Network, seed: int) -> dict:
    """Returns the network's first parameters and BatchNorm statistics."""
    # Lazily: only the parameters are computed, one small kernel a shape, not the whole network.
    return model.lazy_init(jax.random.key(seed), _smallest_image(model), train=False)


def variable_shapes(model: Network) -> dict:
    """Returns the shapes of what `init_variables` returns; computes nothing."""
    return jax.eval_shape(
        lambda image: model.init(jax.random.key(0), image, train=False), _smallest_image(model)
    )


def output_layers(model: Network) -> frozenset[str]:
    """Returns the names of the layers whose results are the output channels."""
    last_axis = 3  # of a kernel [height, width, in, out]
    axes = model.channel_axes.items()
    return frozenset(m for (m, name), axis in axes if (name, axis) == ("kernel", last_axis))


def _smallest_image(model: Network) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *model.valid_size(0, 0), 3), jnp.float32)


# Numbers of one image in an array of features: as many as the paper's network has, of which one
# layer's result just stays in a CPU's cache until the next layer reads it.
_FILLS_CACHE = 64 * 64 * 256


def forward(
    model: Network, variables: Mapping, images: Float[Array, "batch height width 3"]
) -> Float[Array, "batch stacks height/stride width/stride channels"]:
    """Returns `model.apply(variables, images, train=False)`, on CPUs up to a sixth sooner.

    There large images go through the network one by one. Small ones would take twice the time.
    """
    height, width = (side // model.stride for side in images.shape[1:3])

    def together(variables, images):
        return model.apply(variables, images, train=False)

    def one_by_one(variables, images):
        return jax.lax.map(lambda image: together(variables, image[None])[0], images)

    large = height * width * getattr(model, "features", 0) >= _FILLS_CACHE
    return by_platform(together, cpu=one_by_one if large else together)(variables, images)
