"""Training objectives and weight averages; a new objective is added here."""

from study.training.edm import EDM2Objective as EDM2Objective
from study.training.edm import EDMObjective as EDMObjective
from study.training.ema import Profile as Profile
from study.training.ema import exponent as exponent
from study.training.ema import inner as inner
from study.training.ema import reconstruct as reconstruct
from study.training.ema import update as update
from study.training.folder import STATE as STATE
from study.training.folder import check_recipe as check_recipe
from study.training.folder import folder_of as folder_of
from study.training.noise_levels import noise_levels as noise_levels
from study.training.objective import Objective as Objective
from study.training.objective import objective_of as objective_of
from study.training.objective import objectives as objectives
from study.training.p2 import EpsilonObjective as EpsilonObjective
from study.training.p2 import P2Objective as P2Objective
from study.training.uncertainty import Uncertainty as Uncertainty
