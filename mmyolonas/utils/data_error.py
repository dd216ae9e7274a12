"""The error of this package's data sets."""


class DataError(ValueError):
    """Something is wrong with the user's images or annotations.

    The message is one sentence that names the file and says what to do, so a
    tool may print it without a traceback.
    """
