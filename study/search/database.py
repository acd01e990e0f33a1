"""The database of all studies under a root: opening, creation and detection of damage."""

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
    """The database of all studies under a root; created, under a lock, if there is none.

    Raises InputError for a file that is not a database of Optuna, or is damaged.
    """
    path = root / "optuna.db"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / "optuna.lock"):
            if not path.exists():  # another process may have made it meanwhile
                make_whole(path, _make)
    return _opened(path)


def existing_storage(root: Path) -> RDBStorage:
    """The existing database under a root, opened without need of write permission.

    Raises InputError if there is none, as reading must not create one, or if it is damaged.
    """
    path = root / "optuna.db"
    if not path.is_file():
        raise InputError(
            f"{root}: found no studies (no optuna.db); create one with `study run CONFIG`."
        )
    return _opened(path)


def forget(storage: RDBStorage, name: str) -> None:
    """Delete all stored evaluations of a study."""
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
    """Raises InputError, with the file and a remedy, if data read in the block are damaged."""
    try:
        yield
    except (DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
        # a lock or a full disk; or an error that is already explained
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
        f"{path}: damaged, or not a database of studies ({why}). Restore a backup; or replace it "
        f"by what can be read, `sqlite3 {path.name} .recover | sqlite3 new.db`; or move it away "
        "to begin again."
    )
