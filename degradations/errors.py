"""The two ways in which a call can end badly, for every room of the project."""


class InputError(ValueError):
    """The input is wrong: the message says what was found, where, and what is accepted (exit status
    2)."""


class RunError(RuntimeError):
    """The input was fine and the work could not be done: the message says what happened (exit
    status 1)."""
