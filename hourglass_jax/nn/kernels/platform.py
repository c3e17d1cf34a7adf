"""Selection of a function by platform, at compile time."""

from collections.abc import Callable
from typing import Any

from jax import lax

Function = Callable[..., Any]


def by_platform(
    default: Function,
    *,
    cpu: Function | None = None,
    gpu: Function | None = None,
    tpu: Function | None = None,
) -> Function:
    """Returns a function of arrays that calls the function given for its platform.

    All functions must compute the same result; `default` serves the platforms without a function.
    """
    functions = {"cpu": cpu, "cuda": gpu, "rocm": gpu, "tpu": tpu}
    given = {platform: function for platform, function in functions.items() if function}

    def chosen(*arguments):
        return lax.platform_dependent(*arguments, default=default, **given)

    return chosen
