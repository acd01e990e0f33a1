"""Base denoisers: exact ones, and networks with their preconditioning; new ones are added here."""

from study.models.dhariwal import DhariwalUNet as DhariwalUNet
from study.models.edm2 import EDM2UNet as EDM2UNet
from study.models.edm_preconditioning import IDDPM as IDDPM
from study.models.edm_preconditioning import VE as VE
from study.models.edm_preconditioning import VP as VP
from study.models.exact import ExactGaussian as ExactGaussian
from study.models.exact import ExactMixture as ExactMixture
from study.models.mlp import ResidualMLP as ResidualMLP
from study.models.noisy_classifier import NetworkClassifier as NetworkClassifier
from study.models.preconditioning import EDM as EDM
from study.models.preconditioning import Network as Network
from study.models.preconditioning import Preconditioned as Preconditioned
from study.models.preconditioning import networks as networks
from study.models.preconditioning import preconditionings as preconditionings
from study.models.predictions import Epsilon as Epsilon
from study.models.predictions import Sample as Sample
from study.models.predictions import Velocity as Velocity
from study.models.songunet import SongUNet as SongUNet
from study.models.transformer import PatchTransformer as PatchTransformer
from study.models.wrap import wrap as wrap
