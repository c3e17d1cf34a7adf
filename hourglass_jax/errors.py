"""The errors that end a command with one sentence instead of a traceback."""


class UserError(ValueError):
    """A mistake in the command, the config or the data: exit status 2."""


class RunError(RuntimeError):
    """A run that cannot continue for any other reason: exit status 1."""
