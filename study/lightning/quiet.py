"""Lightning within a larger program: no banners, and Ctrl-C raises KeyboardInterrupt."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from study.parallel.signals import interrupt


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Lightning's banners and hints, and raise KeyboardInterrupt for Ctrl-C and SIGTERM.

    The hints are about workers, hardware and loggers. Lightning answers Ctrl-C with `sys.exit(1)`
    and leaves SIGINT ignored, and it swallows SIGTERM unless another handler is set.
    """
    names = [
        "pytorch_lightning",
        "pytorch_lightning.utilities.rank_zero",
        "lightning.fabric",
        "lightning_fabric",
    ]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if main_thread:
        signal.signal(signal.SIGTERM, interrupt)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
        warnings.filterwarnings(
            "ignore", message=r".*(num_workers|isinstance\(treespec|LeafSpec|litlogger).*"
        )
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            if main_thread:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
