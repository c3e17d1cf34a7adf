"""The errors that end a command with one sentence instead of a traceback."""


class UserError(ValueError):
    """A mistake in the command, the config or the data: exit status 2."""


class RunError(RuntimeError):
    """A run that cannot go on, by nobody's mistake in the command: exit status 1."""
