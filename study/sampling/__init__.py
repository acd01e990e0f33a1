"""Samplers: σ grids, solvers, sources of noise and labels, and the sampling loop.

A new solver or grid is added here.
"""

from study.sampling.ddim import DDIM as DDIM
from study.sampling.ddpm import DDPM as DDPM
from study.sampling.dpmpp_2m import DPMpp2M as DPMpp2M
from study.sampling.edm_sde import EDMSDE as EDMSDE
from study.sampling.euler import Euler as Euler
from study.sampling.grids.cosine import CosineGrid as CosineGrid
from study.sampling.grids.edm import EDMGrid as EDMGrid
from study.sampling.grids.edm import edm_sigmas as edm_sigmas
from study.sampling.grids.grid import Grid as Grid
from study.sampling.grids.grid import grid_of as grid_of
from study.sampling.grids.grid import grids as grids
from study.sampling.grids.grid import levels_on as levels_on
from study.sampling.grids.grid import listed as listed
from study.sampling.grids.linear import LinearGrid as LinearGrid
from study.sampling.grids.log_snr import LogSNRGrid as LogSNRGrid
from study.sampling.grids.ve import VEGrid as VEGrid
from study.sampling.grids.vp import VPGrid as VPGrid
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
