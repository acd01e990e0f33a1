"""How a spec refuses a value."""

from degradations.errors import Refused


def want(good: bool, key: str, found: object, wanted: str) -> None:
    """Raises Refused, with the key, what was found and what is wanted, unless it is good."""
    if not good:
        raise Refused(f"{key}: found {found!r}, wanted {wanted}.")
