import os
import shutil
import signal
from pathlib import Path

# Small tensors gain nothing from threads, test workers share the cores, and sums in another order
# round differently.
os.environ.update(
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="agg", MLFLOW_DISABLE_TELEMETRY="true"
)

import pytest
import torch

torch.set_num_threads(1)

# A shell's background ignores SIGINT, here and in child processes; tests of interrupts need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("tests")  # what helpers assert is explained too


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from study.cli.main import call
    from tests.small_study import SMALL

    root = tmp_path_factory.mktemp("finished") / "mlruns"
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A finished study of one's own, copied as a user would."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
