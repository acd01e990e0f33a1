"""Specs: plain dataclasses that describe a study, the shape of a config. No heavy import.

Each checks its values when it is created and raises InputError with the key, what was found and
what is accepted.
"""

from study.specs.matrix import CalibrateSpec, MatrixSpec, ProbeSpec
from study.specs.recipe import NetworkSpec, RecipeSpec
from study.specs.sampler import SamplerSpec
from study.specs.search import CONSTANT, ConfirmSpec, PairingSpec, SearchSpec
from study.specs.study import HELD_OUT, StudySpec

__all__ = [
    "CONSTANT",
    "HELD_OUT",
    "CalibrateSpec",
    "ConfirmSpec",
    "MatrixSpec",
    "NetworkSpec",
    "PairingSpec",
    "ProbeSpec",
    "RecipeSpec",
    "SamplerSpec",
    "SearchSpec",
    "StudySpec",
]
