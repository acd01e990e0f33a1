"""Losses, distributions of noise levels, and averages of weights."""

from study.training.ema import Profile, exponent, inner, reconstruct, update
from study.training.folder import STATE, check_recipe, folder_of
from study.training.loss import edm_loss, log_normal

__all__ = [
    "STATE",
    "Profile",
    "check_recipe",
    "edm_loss",
    "exponent",
    "folder_of",
    "inner",
    "log_normal",
    "reconstruct",
    "update",
]
