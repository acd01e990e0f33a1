"""Samplers: σ grids, solvers, sources of noise and labels, and the sampling loop."""

from study.sampling.grid import edm_sigmas
from study.sampling.loop import Churn, OnSamples, sample, sample_chunk
from study.sampling.solvers import SOLVERS, Solver, nfe, solver_of
from study.sampling.sources import Fixed, PerSample, Source, Start, stratified

__all__ = [
    "SOLVERS",
    "Churn",
    "Fixed",
    "OnSamples",
    "PerSample",
    "Solver",
    "Source",
    "Start",
    "edm_sigmas",
    "nfe",
    "sample",
    "sample_chunk",
    "solver_of",
    "stratified",
]
