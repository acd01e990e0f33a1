"""Samplers: σ grids, solvers, sources of noise and labels, and the sampling loop.

A new solver is added here.
"""

from study.sampling.ddim import DDIM as DDIM
from study.sampling.ddpm import DDPM as DDPM
from study.sampling.dpmpp_2m import DPMpp2M as DPMpp2M
from study.sampling.edm_sde import EDMSDE as EDMSDE
from study.sampling.euler import Euler as Euler
from study.sampling.grid import edm_sigmas as edm_sigmas
from study.sampling.heun import Heun as Heun
from study.sampling.loop import Churn as Churn
from study.sampling.loop import OnSamples as OnSamples
from study.sampling.loop import sample as sample
from study.sampling.loop import sample_chunk as sample_chunk
from study.sampling.midpoint import Midpoint as Midpoint
from study.sampling.solver import Solver as Solver
from study.sampling.solver import nfe as nfe
from study.sampling.solver import solver_of as solver_of
from study.sampling.solver import solvers as solvers
from study.sampling.sources import Fixed as Fixed
from study.sampling.sources import PerSample as PerSample
from study.sampling.sources import Source as Source
from study.sampling.sources import Start as Start
from study.sampling.sources import stratified as stratified
