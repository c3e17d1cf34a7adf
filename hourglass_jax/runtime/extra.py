"""Libraries that only some commands need: `pip install "hourglass-jax[EXTRA]"` brings them."""

import importlib
import types

from hourglass_jax.errors import UserError


def library(name: str, purpose: str, extra: str = "labels") -> types.ModuleType:
    """Imports a library.

    Args:
      name: name of its module.
      purpose: what needs it, as the beginning of a sentence.
      extra: name of the extra that brings it.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.replace("_", "-")
        raise UserError(
            f'{purpose} needs {package}; install it with pip install "hourglass-jax[{extra}]"'
        ) from None
