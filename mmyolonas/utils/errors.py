"""Errors that are the user's to repair."""


class UserError(RuntimeError):
    """Something is wrong with what was given, and the message says what to do.

    The command-line tools print the message alone, without a traceback.
    """


class ShapeError(UserError, ValueError):
    """An image has a size that a network cannot take."""


class ConfigError(UserError):
    """A config asks for what cannot be built; the cause is the error of what was built."""


class FullDiskError(UserError):
    """There is no room left, so what would come next cannot work either."""
