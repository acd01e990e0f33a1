"""Feature extractors, streamed moments, and distances to a reference.

A new extractor or metric is added here.
"""

from study.metrics.accuracy import Accuracy as Accuracy
from study.metrics.digits_classifier import Digits as Digits
from study.metrics.dinov2 import DINOv2 as DINOv2
from study.metrics.extractor import Extractor as Extractor
from study.metrics.extractor_names import extractor_of as extractor_of
from study.metrics.extractor_names import extractors as extractors
from study.metrics.extractor_names import files_of as files_of
from study.metrics.extractor_names import load_extractor as load_extractor
from study.metrics.frechet import FrechetReference as FrechetReference
from study.metrics.inception import Inception as Inception
from study.metrics.inception import InceptionTF as InceptionTF
from study.metrics.kernel import kernel_distance as kernel_distance
from study.metrics.metric import Metric as Metric
from study.metrics.metric import metrics as metrics
from study.metrics.moments import Moments as Moments
from study.metrics.nearest import nearest as nearest
from study.metrics.nearest import nearest_other as nearest_other
from study.metrics.nearest import training_share as training_share
from study.metrics.neighbours import radii as radii
from study.metrics.pairs import Pairs as Pairs
from study.metrics.pairs import pair_scores as pair_scores
from study.metrics.pixels import Pixels as Pixels
from study.metrics.random_fourier import RandomFourier as RandomFourier
from study.metrics.random_network import RandomNetwork as RandomNetwork
from study.metrics.reference import Reference as Reference
from study.metrics.reference import references as references
from study.metrics.reference import stream_references as stream_references
from study.metrics.saturation import Saturation as Saturation
from study.metrics.scorer import reference_replicates as reference_replicates
from study.metrics.scorer import replicates as replicates
from study.metrics.scorer import scores as scores
from study.metrics.scorer import size_curves as size_curves
from study.metrics.tally import Tally as Tally
from study.metrics.tally import strata as strata
