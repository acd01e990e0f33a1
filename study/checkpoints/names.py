"""Names of denoisers in a study: a degradation of its base, or of a variant of it."""

from degradations import Degradation, Identity, parse
from study.checkpoints.load import is_public
from study.checkpoints.variants import Variant


def split(name: str) -> tuple[Variant | None, Degradation]:
    """The variant or the other checkpoint of a name, if it has one, and the degradation that
    follows: `digits@snapshot=512+dropout(0.1)`, `edm2-img512-xs-0134217-0.125`.

    Raises InputError for what is neither.
    """
    if is_public(name):  # whatever signs a path has in it
        return Variant.parse(name), Identity()
    variant, plus, rest = name.partition("+")
    if "@" not in name and not is_public(variant.strip()):
        return None, parse(name)
    return Variant.parse(variant.strip()), parse(rest) if plus else Identity()


def canonical(name: str) -> str:
    """A name as it is written everywhere, so that equal denoisers have equal names. Raises
    InputError as `split` does."""
    variant, degradation = split(name)
    if variant is None:
        return str(degradation)
    return str(variant) if degradation == Identity() else f"{variant}+{degradation}"
