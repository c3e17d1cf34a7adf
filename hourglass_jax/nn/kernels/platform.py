"""The choice of a function by platform, which XLA makes when it compiles."""

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
    """Returns a function of arrays that runs as each platform runs it fastest.

    All of them compute the same from the same arguments; `default` is for platforms without their
    own.
    """
    functions = {"cpu": cpu, "cuda": gpu, "rocm": gpu, "tpu": tpu}
    given = {platform: function for platform, function in functions.items() if function}

    def chosen(*arguments):
        return lax.platform_dependent(*arguments, default=default, **given)

    return chosen
