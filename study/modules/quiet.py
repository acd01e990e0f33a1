"""Lightning says much that no user of a study needs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No banners and no hints about workers, hardware and loggers; warnings of other libraries still come through."""
    names = ["pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.fabric", "lightning_fabric"]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
        warnings.filterwarnings("ignore", message=r".*(num_workers|isinstance\(treespec|LeafSpec|litlogger).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
