"""What the package offers, a line each. A new degradation is named here."""

from degradations.degradation import Degradation as Degradation
from degradations.degradation import parse as parse
from degradations.denoiser import Denoiser as Denoiser
from degradations.denoiser import Site as Site
from degradations.denoiser import epsilon as epsilon
from degradations.denoiser import score as score
from degradations.denoiser import velocity as velocity
from degradations.draws import Draws as Draws
from degradations.dropout import Dropout as Dropout
from degradations.errors import Failed as Failed
from degradations.errors import Refused as Refused
from degradations.identity import Identity as Identity
from degradations.noise import InputNoise as InputNoise
from degradations.pair import Coupling as Coupling
from degradations.pair import Guided as Guided
from degradations.pair import Pair as Pair
