"""MLflow's view of a study. The only room that imports MLflow.

A projection of what the search keeps: giving it the same evaluations again changes nothing, so it
is filled as a study runs and can be filled anew from the storage.
"""

from study.tracking.dashboard import serve
from study.tracking.database import database
from study.tracking.experiment import Tracking

__all__ = ["Tracking", "database", "serve"]
