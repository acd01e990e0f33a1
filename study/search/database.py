"""The database of all studies under a root: opened, made where there is none, and its damage
named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.exc import DatabaseError, OperationalError

from degradations import InputError
from study.files.lock import locked
from study.files.sqlite import connect, damage, make_whole

TABLES = ("studies", "trials", "trial_user_attributes", "trial_values", "alembic_version")


def open_storage(root: Path) -> RDBStorage:
    """The database of all studies under a root; made, under a lock, where there is none.

    Raises InputError for a file that is no database of Optuna, or is damaged.
    """
    path = root / "optuna.db"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / "optuna.lock"):
            if not path.exists():  # another process may have made it meanwhile
                make_whole(path, _make)
    return _opened(path)


def existing_storage(root: Path) -> RDBStorage:
    """The database under a root, for which no permission to write is needed.

    Raises InputError where there is none, for reading must not make one, and where it is damaged.
    """
    path = root / "optuna.db"
    if not path.is_file():
        raise InputError(f"{root}: no studies here (no optuna.db); `study run CONFIG` makes one.")
    return _opened(path)


def forget(storage: RDBStorage, name: str) -> None:
    """Delete all that is kept of a study."""
    for each in names(storage, name):
        optuna.delete_study(study_name=each, storage=storage)


def names(storage: RDBStorage, study: str | None = None) -> list[str]:
    """The names of all Optuna studies in a storage, or of those that belong to a study."""
    found = list(optuna.get_all_study_names(storage))
    return found if study is None else [each for each in found if each.startswith(f"{study}/")]


def path_of(storage: RDBStorage) -> Path:
    """The file of a storage."""
    return Path(str(storage.engine.url.database))


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Raises InputError, naming the file and what to do, where what is read from it in the block is
    damaged."""
    try:
        yield
    except (DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
        # a lock, a full disk; what was said already
        if isinstance(error, (OperationalError, InputError)):
            raise
        raise _damaged(
            path, f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
        ) from error


def _opened(path: Path) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if found := damage(path, TABLES):
        raise _damaged(path, found)
    with intact(path):
        return RDBStorage(
            f"sqlite:///{path.resolve()}",
            {"creator": lambda: connect(path.resolve())},
            skip_table_creation=True,
        )


def _make(path: Path) -> None:
    RDBStorage(f"sqlite:///{path}").engine.dispose()


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: damaged, or not a database of studies ({why}). Put a copy of it back; or save "
        f"what can be read, `sqlite3 {path.name} .recover | sqlite3 new.db`, and put that in its "
        "place; or move it away to begin anew."
    )
