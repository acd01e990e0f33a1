"""The two kinds of errors that a call can raise."""


class InputError(ValueError):
    """The input is wrong (exit status 2).

    The message says where, what was found and what is accepted.
    """


class RunError(RuntimeError):
    """The input was accepted, but the work could not be done (exit status 1).

    The message says what happened.
    """
