import os

# Small tensors gain nothing from threads, test workers share the cores, and sums in another order
# round differently.
os.environ.update(
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="agg", MLFLOW_DISABLE_TELEMETRY="true"
)

import torch

torch.set_num_threads(1)
