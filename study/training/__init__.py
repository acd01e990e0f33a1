"""Losses, noise distributions and weight averages."""

from study.training.ema import Profile, exponent, inner, reconstruct, update
from study.training.loss import edm_loss, log_normal

__all__ = ["Profile", "edm_loss", "exponent", "inner", "log_normal", "reconstruct", "update"]
