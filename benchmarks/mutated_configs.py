"""mutated_configs: configs changed at random, read as `study run --plan` reads them.

    python benchmarks/mutated_configs.py [N] [--first SEED] [--limit SECONDS]

Each of N mutants (1000) is a config of configs/ with one to three changes, all drawn from its seed:
a value replaced by null, another type, an extreme number, a long text, a list or mapping; a key
deleted, misspelt, moved or added; a number or a letter within the name of a degradation; or, of the
text, bytes flipped, cut, repeated or inserted, and YAML's odd constructs. Every one goes through
`study.cli.config.load_spec` and, where that accepts it, `study.engine.plan.estimate`. Printed: how
many were accepted, how many rejected with the project's own errors, and the seeds of those that
ended in any other exception or took longer than the limit (5 s), of which there must be none: else
the exit status is 1.
"""

import argparse
import copy
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from odd_values import NUMBERS, TEXTS, VALUES

CONFIGS = sorted(Path(__file__).parents[1].joinpath("configs").glob("*.yaml"))
PATIENCE = 12  # limits after which a mutant is given up


def mutant(seed: int) -> bytes:
    """The bytes of a changed config; the same seed always gives the same."""
    rng = random.Random(seed)
    text = rng.choice(CONFIGS).read_text(encoding="utf-8")
    if rng.random() < 0.6:
        values = yaml.safe_load(text)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            rng.choice([_replace, _scale, _scale, _name, _name, _delete, _misspell, _add, _move])(
                values, rng
            )
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=rng.random() < 0.5).encode(
            "utf-8", "replace"
        )
    content = text.encode()
    for _ in range(rng.randint(1, 3)):
        content = rng.choice([_flip, _cut, _repeat, _insert, _insert, _encode])(content, rng)
    return content


def _places(values: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a tree."""
    items = (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    )
    return [place for key, each in items for place in [(values, key), *_places(each)]]


def _place(
    values: Any, rng: random.Random, good: Callable[[Any], bool] = lambda value: True
) -> tuple[Any, Any] | None:
    found = [(inside, key) for inside, key in _places(values) if good(inside[key])]
    return rng.choice(found) if found else None


def _replace(values: Any, rng: random.Random) -> None:
    if place := _place(values, rng):
        place[0][place[1]] = copy.deepcopy(rng.choice(VALUES))


def _scale(values: Any, rng: random.Random) -> None:
    if place := _place(values, rng, lambda value: type(value) in (int, float)):
        place[0][place[1]] *= rng.choice([-1, 0, 0.1, 2, 2, 3, 10, 1000, 10**11, 1e-9])


def _name(values: Any, rng: random.Random) -> None:
    """Something within a text, such as the name of a degradation."""
    if place := _place(values, rng, lambda value: isinstance(value, str) and value):
        text = place[0][place[1]]
        at = rng.randrange(len(text))
        where = text.find("(")
        changed = [
            text[:at] + rng.choice("()+@=,./: 0\u03b1\0") + text[at:],
            text[:at],
            f"{text}+{text}",
            f"{text}@seed=1",
        ]
        if where >= 0:
            changed += [f"{text[:where]}({rng.choice(NUMBERS)})"] * 4
            changed += [
                f"{text[:where]}(0.1, {option}={rng.choice(NUMBERS)})"
                for option in ("seed", "angle", "x")
            ]
        changed += [
            f"digits@{key}={rng.choice(NUMBERS)}"
            for key in ("snapshot", "ema", "width", "seed", "samples", "x")
        ]
        place[0][place[1]] = rng.choice(changed)


def _delete(values: Any, rng: random.Random) -> None:
    if place := _place(values, rng):
        del place[0][place[1]]


def _misspell(values: Any, rng: random.Random) -> None:
    found = [
        (inside, key)
        for inside, key in _places(values)
        if isinstance(inside, dict) and isinstance(key, str) and key
    ]
    if found:
        inside, key = rng.choice(found)
        at = rng.randrange(len(key))
        other = rng.choice(
            [
                key[:at] + key[at + 1 :],
                key + "s",
                key.upper(),
                key[::-1],
                f"{key}.{key}",
                f"{key}\0",
                "",
                3,
            ]
        )
        inside[other] = inside.pop(key)


def _add(values: Any, rng: random.Random) -> None:
    groups = [
        values,
        *(inside[key] for inside, key in _places(values) if isinstance(inside[key], dict)),
    ]
    keys = [
        "x",
        "steps",
        "base",
        "decoder",
        "precision",
        "matrix",
        "interval",
        "strength",
        "guides",
        "class_path",
        "kinds",
    ]
    rng.choice([each for each in groups if isinstance(each, dict)] or [{}])[rng.choice(keys)] = (
        rng.choice(VALUES)
    )


def _move(values: Any, rng: random.Random) -> None:
    """One value in the place of another."""
    if (one := _place(values, rng)) and (other := _place(values, rng)):
        one[0][one[1]] = copy.deepcopy(other[0][other[1]])


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 30])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return rng.choice([content[:a], content[a:], content[:a] + content[b:]])


def _repeat(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    line = rng.randrange(len(lines))
    return b"".join(
        rng.choice([[*lines[: line + 1], *lines[line:]], lines * 2, rng.sample(lines, len(lines))])
    )


def _insert(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    text, line = rng.choice(TEXTS).encode("utf-8", "surrogatepass"), rng.randrange(len(lines))
    at = rng.choice([0, rng.randrange(len(lines[line]) + 1)])
    lines[line] = lines[line][:at] + text + lines[line][at:]
    return b"".join(lines)


def _encode(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32"]), "replace")


class TookTooLong(BaseException):
    """Raised by the alarm; not an Exception, so that nothing that is looked at catches it."""


def outcome(content: bytes, folder: Path) -> str:
    """What becomes of a config: 'accepted', 'rejected', or the last line of another exception."""
    from degradations import InputError, RunError
    from study.cli.config import load_spec
    from study.engine.plan import estimate

    path = folder / "config.yaml"
    path.write_bytes(content)
    try:
        estimate(load_spec(path), folder / "root")
    except (InputError, RunError) as error:
        return (
            "rejected"
            if "\n" not in str(error) and len(str(error)) < 1500
            else f"a message of {len(str(error))} letters"
        )
    except TookTooLong:
        return "given up"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{type(error).__name__}: {str(error)[:200]} "
            f"({Path(where.filename).name}:{where.lineno})"
        )
    return "accepted" if not (folder / "root").exists() else "a folder was made"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("n", type=int, nargs="?", default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--limit", type=float, default=5.0)
    asked = parser.parse_args()

    def ring(*_: object) -> None:
        raise TookTooLong

    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line has it
    signal.signal(signal.SIGALRM, ring)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        outcome(CONFIGS[0].read_bytes(), Path(name))  # imports
        for seed in range(asked.first, asked.first + asked.n):
            content = mutant(seed)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE * asked.limit)
            began = time.perf_counter()
            said = outcome(content, Path(name))
            seconds = time.perf_counter() - began
            signal.setitimer(signal.ITIMER_REAL, 0)
            known = said if said in ("accepted", "rejected") else "other"
            found[known] += 1
            if known == "other":
                print(f"seed {seed}: {said}", flush=True)
            if seconds > asked.limit:
                found["slow"] += 1
                print(f"seed {seed}: {seconds:.1f} s, {said}", flush=True)
    print(
        f"mutated_configs {asked.n}: {found['accepted']} accepted, {found['rejected']} rejected, "
        f"{found['other']} other exceptions, {found['slow']} over {asked.limit:g} s"
    )
    return 1 if found["other"] or found["slow"] else 0


if __name__ == "__main__":
    sys.exit(main())
