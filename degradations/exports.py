"""What the package offers, a line each. A new degradation is named here."""

from degradations.degradation import Degradation, parse
from degradations.denoiser import Denoiser, Site, epsilon, score, velocity
from degradations.draws import Draws
from degradations.dropout import Dropout
from degradations.errors import Failed, Refused
from degradations.identity import Identity
from degradations.noise import InputNoise
from degradations.pair import Coupling, Guided, Pair

__all__ = [
    "Coupling", "Degradation", "Denoiser", "Draws", "Dropout", "Failed", "Guided", "Identity", "InputNoise", "Pair",
    "Refused", "Site", "epsilon", "parse", "score", "velocity",
]  # fmt: skip
