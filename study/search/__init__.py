"""The search for weights and the storage of evaluations; the only package that uses Optuna."""

from study.search.database import existing_storage, forget, names, open_storage
from study.search.propose import propose, spent
from study.search.space import check_over, distributions, parameters
from study.search.store import CONFIRM, RemoteTrial, Store, check_fingerprint

__all__ = [
    "CONFIRM",
    "RemoteTrial",
    "Store",
    "check_fingerprint",
    "check_over",
    "distributions",
    "existing_storage",
    "forget",
    "names",
    "open_storage",
    "parameters",
    "propose",
    "spent",
]
