"""The one exception for mistakes of the user: main turns it into a sentence and exit status 2."""


class UserError(ValueError):
    """Says in one sentence what is wrong, with the value, and what to do about it."""
