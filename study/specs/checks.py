"""How a spec refuses a value, and how a message shows one."""

from degradations.errors import InputError

SHOWN = 100  # characters of a value in a message
# two hundred times what is published: FD's bias, ∝ 1/n, is then far below its noise
MOST_SAMPLES = 10_000_000
MOST_TRIALS = 10_000  # evaluations of one search, as many as a grid has weights at most


def want(good: bool, key: str, found: object, wanted: str) -> None:
    """Raises InputError, with the key, what was found and what is wanted, unless it is good."""
    if not good:
        raise InputError(f"{key}: found {shown(found)}, wanted {wanted}.")


def want_between(value: int, key: str, least: int, most: int, why: str = "") -> None:
    """Raises InputError unless least ≤ value ≤ most; why: what the lower bound is for."""
    want(least <= value <= most, key, value, f"at least {least}{why} and at most {most:,}")


def shown(value: object) -> str:
    """A value as a message shows it: a line of bounded length."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def shown_key(name: str) -> str:
    """A key as a message shows it."""
    return shown(name).strip("'\"")
