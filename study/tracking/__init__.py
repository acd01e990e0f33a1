"""The records of a study in MLflow; the only package that imports MLflow.

They are a projection of the stored evaluations: logging the same evaluations again changes nothing,
so the records are made while a study runs and can be rebuilt from the storage.
"""

from study.tracking.dashboard import serve
from study.tracking.database import database
from study.tracking.experiment import Tracking

__all__ = ["Tracking", "database", "serve"]
