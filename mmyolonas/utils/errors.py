"""Errors that are the user's to repair."""
import warnings


class UserError(RuntimeError):
    """Something is wrong with what was given, and the message says what to do.

    The command-line tools print the message alone, without a traceback.
    """


class ShapeError(UserError, ValueError):
    """An image has a size that a network cannot take."""


class ConfigError(UserError):
    """A config asks for what cannot be built; the cause is the error of what was built."""


class NotNumbers(UserError, UserWarning):
    """A network's outputs are no numbers, so that it finds nothing.

    A warning, since a search or a training goes on with the next network; tools whose
    result would be empty make it an error, see :func:`refuse_not_numbers`.
    """


def refuse_not_numbers() -> None:
    """Let outputs that are no numbers end the program."""
    warnings.simplefilter('error', NotNumbers)


class FullDiskError(UserError):
    """There is no room left, so what would come next cannot work either."""
