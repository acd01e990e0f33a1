import os
import signal

# Small tensors gain nothing from threads, test workers share the cores, and sums in another order round differently.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="agg", MLFLOW_DISABLE_TELEMETRY="true")

import torch

torch.set_num_threads(1)

# A shell's background ignores SIGINT, here and in what is started from here; tests of interrupts need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
