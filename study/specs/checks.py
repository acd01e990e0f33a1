"""Checks of the values of a spec, and how messages show a value."""

from degradations.errors import InputError

SHOWN = 100  # characters of a value in a message
# 200 times the published number: FD's bias, ∝ 1/n, is then far below its noise
MOST_SAMPLES = 10_000_000
MOST_TRIALS = 10_000  # evaluations of one search; a grid has at most as many weights


def require(good: bool, key: str, found: object, accepted: str) -> None:
    """Raises InputError, "KEY: found X; accepted: Y.", unless the value is good."""
    if not good:
        raise InputError(f"{key}: found {shown(found)}; accepted: {accepted}.")


def require_between(value: int, key: str, least: int, most: int, why: str = "") -> None:
    """Raises InputError unless least ≤ value ≤ most; why: the reason for the lower bound."""
    require(least <= value <= most, key, value, f"at least {least}{why} and at most {most:,}")


def shown(value: object) -> str:
    """A value as messages show it: one line of bounded length."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def shown_key(name: str) -> str:
    """A key as messages show it."""
    return shown(name).strip("'\"")
