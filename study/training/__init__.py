"""Losses, noise distributions and weight averages."""

from study.training.ema import exponent, update
from study.training.loss import edm_loss, log_normal

__all__ = ["edm_loss", "exponent", "log_normal", "update"]
