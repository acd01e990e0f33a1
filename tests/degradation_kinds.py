"""Every kind of degradation with strengths to test it at, to which a new kind adds a row."""

import pytest

from degradations import (
    BlockDropout,
    Classifier,
    Dropout,
    FeatureNoise,
    FeatureQuantize,
    InputBlur,
    InputNoise,
    InputQuantize,
    LabelDrop,
    LabelSwap,
    LowRank,
    MapBlur,
    MapShuffle,
    MapSwap,
    NoAttention,
    Prune,
    Quantize,
    QueryBlur,
    Radial,
    ScoreError,
    SigmaError,
    SkipBlock,
    Turned,
    WeightDrop,
    WeightNoise,
    Windows,
)

# the kind, three strengths in the order of rising damage, and whether it draws random numbers
KINDS = [
    pytest.param(Dropout, (0.05, 0.2, 0.5), True, id="dropout"),
    pytest.param(BlockDropout, (0.05, 0.2, 0.5), True, id="block-dropout"),
    pytest.param(FeatureNoise, (0.1, 0.5, 2.0), True, id="feature-noise"),
    pytest.param(FeatureQuantize, (6, 4, 2.5), False, id="feature-quantize"),
    pytest.param(LowRank, (0.1, 0.3, 0.6), False, id="low-rank"),
    pytest.param(WeightNoise, (0.05, 0.1, 0.4), False, id="weight-noise"),
    pytest.param(WeightDrop, (0.02, 0.1, 0.4), False, id="weight-drop"),
    pytest.param(Prune, (0.1, 0.3, 0.8), False, id="prune"),
    pytest.param(Quantize, (6, 4, 2.5), False, id="quantize"),
    pytest.param(InputNoise, (0.1, 0.2, 1.0), True, id="noise"),
    pytest.param(InputBlur, (0.3, 0.6, 2.0), False, id="input-blur"),
    pytest.param(InputQuantize, (6, 4, 2.5), False, id="input-quantize"),
    pytest.param(LabelDrop, (0.1, 0.4, 1.0), True, id="label-drop"),
    pytest.param(LabelSwap, (0.1, 0.4, 1.0), True, id="label-swap"),
    pytest.param(Classifier, (0.1, 0.4, 1.0), False, id="classifier"),
    pytest.param(Radial, (0.1, 0.4, 1.0), False, id="radial"),
    pytest.param(ScoreError, (0.1, 0.3, 1.0), False, id="score"),
    pytest.param(SigmaError, (0.1, 0.3, 1.0), False, id="sigma"),
    pytest.param(SkipBlock, (0.1, 0.4, 1.0), False, id="skip-block"),
    pytest.param(Turned, (0.5, 1.0, 2.0), False, id="turned"),
]
KINDS_OF_IMAGES = [  # the same, for kinds that the MLP has no sites for
    pytest.param(NoAttention, (0.1, 0.4, 1.0), False, id="no-attention"),
    pytest.param(QueryBlur, (0.3, 0.6, 2.0), False, id="query-blur"),
    pytest.param(MapBlur, (0.3, 0.6, 2.0), False, id="map-blur"),
    pytest.param(MapShuffle, (0.1, 0.4, 1.0), True, id="map-shuffle"),
    pytest.param(MapSwap, (0.2, 0.5, 1.0), False, id="map-swap"),
]
KINDS_OF_CROPS = [  # for kinds that need a convolutional network
    pytest.param(Windows, (0.25, 0.4, 0.5), False, id="windows")
]
