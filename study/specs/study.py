"""The spec of a whole study."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from study.specs.checks import require
from study.specs.matrix import CalibrateSpec, MatrixSpec, ProbeSpec
from study.specs.recipe import RecipeSpec
from study.specs.sampler import SamplerSpec
from study.specs.search import CONSTANT, MOST_SEED_SETS, ConfirmSpec, PairingSpec, SearchSpec

WORD = re.compile(r"[\w-]+")  # a name, rather than a path or a name with options
HELD_OUT = "held-out"  # the reference that is the part of the data a base was not trained on
APART = 10_000  # seeds between two bases of a study, more than one of them uses
MOST_NAME = 200  # bytes: file names, which have at most 255, add a suffix
MOST_PAIRINGS = 20_000  # each is a study in Optuna's database and a run in MLflow's


@dataclass(frozen=True)
class StudySpec:
    """A degradation study: one base, pairings of its degradations, their search and confirmation.

    Args:
        name: of the study; its results are kept under this name, of at most 100 characters and 200
            bytes
        base: a card's name (digits, edm2-img512-s-2147483-0.130), a folder or file with weights and
            card, a folder of diffusers or hub:org/name, exact (the data's closed form), or null:
            trained by the recipe
        bases: in place of a base, several over which the study is repeated, such as digits@seed=0
            and digits@seed=1; intervals are then over bases
        recipe: how the base is trained, if it is
        reference: what samples are compared with: a data set, as in recipe.data, held-out (the part
            of it that the base was not trained on), published statistics (img512, cifar10 train),
            or a file or folder of statistics or images
        decoder: of EDM2's latents, in place of the hub's: a folder of diffusers' AutoencoderKL, or
            hub:org/name
        precision: of the network: fp32, fp16, bf16, or auto, that of the base on accelerators and
            fp32 on a CPU
        extractors: feature extractors, the first for the primary metric: digits, pixels, random,
            rff, inception, inception_tf, dinov2, or the path of a card of one's own, NAME.json
        sampler: how samples are drawn
        pairings: main and guide of each pairing, at most 20,000
        search: how the weight is searched
        confirm: how it is confirmed
        calibrate: how equally damaging strengths are found
        matrix: if given, the pairings are those of all calibrated kinds
        probe: settings of the probes
        forecasts: a CSV file of forecast verdicts, kept before the first evaluation and compared
            with the verdicts
        seed: of the search; the confirmation uses those after it
        plugins: Python files that register degradations, rules, solvers, extractors, data sets,
            networks or objectives; they run only with --allow-plugins
    """

    name: str
    base: str | None = None
    bases: tuple[str, ...] = ()
    recipe: RecipeSpec = field(default_factory=RecipeSpec)
    reference: str = "digits"
    decoder: str | None = None
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    extractors: tuple[str, ...] = ("pixels",)
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    pairings: tuple[PairingSpec, ...] = ()
    search: SearchSpec = field(default_factory=SearchSpec)
    confirm: ConfirmSpec = field(default_factory=ConfirmSpec)
    calibrate: CalibrateSpec = field(default_factory=CalibrateSpec)
    matrix: MatrixSpec | None = None
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    forecasts: str | None = None
    seed: int = 0
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            bool(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", self.name)),
            "name",
            self.name,
            "at most 100 letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )
        require(
            len(self.name.encode()) <= MOST_NAME,
            "name",
            self.name,
            f"at most {MOST_NAME} bytes in UTF-8",
        )
        require(
            self.name != "Default",
            "name",
            self.name,
            "any other name, as MLflow has an experiment of this name",
        )
        require(
            bool(self.base or self.bases)
            or self.data in (None, self.recipe.data)
            or not WORD.fullmatch(self.reference),
            "recipe.data",
            self.recipe.data,
            f"{self.reference}, the reference, since the base is trained by the recipe; another "
            "reference is held-out, or a path of images or statistics",
        )
        self._check_bases()
        require(
            self.precision in ("auto", "fp32", "fp16", "bf16"),
            "precision",
            self.precision,
            "auto, fp32, fp16 or bf16",
        )
        require(len(self.extractors) > 0, "extractors", self.extractors, "at least one")
        require(
            len(set(self.metrics)) == len(self.extractors),
            "extractors",
            self.extractors,
            "each one once",
        )
        require(
            len(self.pairings) <= MOST_PAIRINGS,
            "pairings",
            len(self.pairings),
            f"at most {MOST_PAIRINGS:,}",
        )
        twice = [pairing.name for pairing, n in Counter(self.pairings).items() if n > 1]
        require(not twice, "pairings", twice, "each one once")
        require(0 <= self.seed < 2**31, "seed", self.seed, "an integer from 0 to 2³¹ − 1")
        ruled = [pairing.name for pairing in self.pairings if pairing.rule != CONSTANT]
        require(
            not (self.search.interval and ruled),
            "search.interval",
            self.search.interval,
            f"nothing together with the rule of a pairing, here of {', '.join(ruled)}",
        )
        if self.matrix is not None:
            require(
                len(self.calibrate.levels) == 2,
                "calibrate.levels",
                self.calibrate.levels,
                "two levels for a matrix, of the mains and of the guides",
            )
            require(
                self.search.strength is None,
                "search.strength",
                self.search.strength,
                "nothing with a matrix, whose strengths are calibrated",
            )
            require(
                not self.search.over,
                "search.over",
                dict(self.search.over),
                "nothing with a matrix, whose pairings are not known before it is calibrated",
            )
            unknown = (
                set(self.matrix.tested) - set(self.calibrate.kinds)
                if self.calibrate.kinds
                else set()
            )
            require(not unknown, "matrix.tested", sorted(unknown), "kinds of calibrate.kinds")

    def _check_bases(self) -> None:
        if not self.bases:
            return
        require(
            self.base is None,
            "base",
            self.base,
            "nothing together with bases: --base null for them, or --bases [] for this one",
        )
        require(len(self.bases) > 1, "bases", self.bases, "at least two, for an interval over them")
        names = [self.of_base(base).name for base in self.bases]
        accepted = "each one once, and folders of different names"
        require(len(set(names)) == len(names), "bases", self.bases, accepted)

    def of_base(self, base: str) -> "StudySpec":
        """The study of one of its bases, kept under the study's name and that of the base.

        Each has seeds of its own, as common noise would make the bases' scores dependent.
        """
        own = re.sub(r"[^\w.-]+", "-", base.rstrip("/").rpartition("/")[2]).strip("-.")
        seed = self.seed + APART * self.bases.index(base)
        return replace(self, name=f"{self.name}.{own}", base=base, bases=(), seed=seed)

    @property
    def data(self) -> str | None:
        """The data set that bases must have been trained on; None: any, scored on its own rest."""
        return None if self.reference == HELD_OUT else self.reference

    @property
    def metrics(self) -> list[str]:
        """The Fréchet distances of the study, the primary one first.

        Each is named `fd_` and the extractor, or the name of its card.
        """
        return [f"fd_{name.removesuffix('.json').rsplit('/', 1)[-1]}" for name in self.extractors]

    @property
    def named(self) -> list[str]:
        """The names of the denoisers in the study: of pairings and of other guides searched."""
        pairings = [name for pairing in self.pairings for name in (pairing.main, pairing.guide)]
        return list(dict.fromkeys([*pairings, *self.search.guides]))

    @property
    def calibration_seeds(self) -> list[int]:
        """The seeds of a calibration: the search's, then seeds that no confirmation uses."""
        later = range(MOST_SEED_SETS + 1, MOST_SEED_SETS + self.calibrate.seed_sets)
        return [self.seed, *(self.seed + each for each in later)]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the confirmation's seed sets."""
        return [self.seed + 1 + r for r in range(self.confirm.seed_sets)]
