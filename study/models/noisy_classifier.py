"""A classifier of noisy samples that can be trained."""

from torch import Tensor, nn

from degradations import NoisyClassifier
from degradations.condition import NONE
from degradations.denoiser import column
from study.models.preconditioning import Preconditioned


class NetworkClassifier(NoisyClassifier):
    """log softmax(W·F(c_in·x; c_noise) + b): a denoiser's network F with a linear layer after it.

    denoiser: of a network without labels, for its scalings; features: the number of elements of a
    sample.
    """

    def __init__(self, denoiser: Preconditioned, features: int, classes: int) -> None:
        super().__init__()
        self.denoiser, self.head = denoiser, nn.Linear(features, classes)

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        c = self.denoiser.scalings(column(sigma, x))
        f = self.denoiser.network(c.c_in * x, c.c_noise.flatten(), NONE, None)
        logs: Tensor = self.head(f.flatten(1)).log_softmax(dim=1)
        return logs
