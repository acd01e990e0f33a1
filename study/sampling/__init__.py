"""Samplers: σ grids, solvers, sources of noise and labels, and the loop."""

from study.sampling.grid import edm_sigmas
from study.sampling.loop import Churn, sample, sample_chunk
from study.sampling.solvers import SOLVERS
from study.sampling.sources import Fixed, PerSample, Source, Start, stratified

__all__ = [
    "SOLVERS",
    "Churn",
    "Fixed",
    "PerSample",
    "Source",
    "Start",
    "edm_sigmas",
    "sample",
    "sample_chunk",
    "stratified",
]
