"""Training objectives and weight averages."""

from study.training.ema import Profile, exponent, inner, reconstruct, update
from study.training.folder import STATE, check_recipe, folder_of
from study.training.objective import OBJECTIVES, Objective, objective_of

__all__ = [
    "OBJECTIVES",
    "STATE",
    "Objective",
    "Profile",
    "check_recipe",
    "exponent",
    "folder_of",
    "inner",
    "objective_of",
    "reconstruct",
    "update",
]
