"""YAML from outside: plain values of bounded size, every key once."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from degradations.errors import InputError

MOST_BYTES = 4 * 2**20
MOST_VALUES = 400_000  # with every alias expanded; a pairing has seven
MOST_DEPTH = 32
CORE = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
}
MERGE = "tag:yaml.org,2002:merge"
# As in YAML 1.2, a number may have an exponent without a point, 1e-3.
FLOAT = re.compile(
    r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    re.ASCII,
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader without dates, which are text here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith((":timestamp", ":float"))]
    for first, known in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"(?:{FLOAT.pattern})$"), list("-+0123456789.")
)


def read_yaml(text: str) -> Any:
    """The value of a YAML document: None, a bool, int, float or str, or lists and dicts of them.

    Keys are texts. Nothing is built before its size is known: values are counted with every alias
    expanded, so that aliases of aliases take no memory. Raises InputError, with the line, if the
    text is not YAML, has several documents, a key given twice, a key that is not text or a tag
    other than those of plain values, or if it has too many or too deeply nested values.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"found {len(text):,} characters; accepted: at most {MOST_BYTES:,}.")
    try:
        _check_events(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            for mapping in _mappings(node):
                _check_keys(mapping)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        what = " ".join(filter(None, (error.context, error.problem)))
        raise InputError(
            f"{_at(error.problem_mark or error.context_mark)}not YAML: {what}."
        ) from None
    # from PyYAML's constructors, for a value that does not fit its explicit tag
    except Exception as error:
        raise InputError(
            f"not YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}."
        ) from None


def _check_events(text: str) -> None:
    """Raises InputError if the document exceeds a limit, by parser events, which take no memory."""
    depth = total = documents = 0
    begun: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise InputError(f"{_at(event.start_mark)}found a second document; accepted: one.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = begun.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    raise InputError(
                        f"{_at(event.start_mark)}the alias *{event.anchor} is undefined, or refers "
                        "to a value that contains it."
                    )
                total += sizes[event.anchor]
            else:
                total += 1
                _check_tag(event)
            if isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
                sizes[event.anchor] = 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                begun.append((event.anchor, total - 1))
            if total > MOST_VALUES or depth > MOST_DEPTH:
                raise InputError(
                    f"{_at(event.start_mark)}more than {MOST_VALUES:,} values, aliases "
                    f"expanded, or more than {MOST_DEPTH} nested levels."
                )


def _check_tag(event: Any) -> None:
    tag = event.tag
    if tag is not None and tag != "!" and tag not in CORE:
        raise InputError(
            f"{_at(event.start_mark)}the tag {tag.replace('tag:yaml.org,2002:', '!!')[:80]}; "
            "accepted: plain values, without tags."
        )


def _mappings(node: Any) -> Iterator[Any]:
    """Every mapping within a node, once."""
    waiting, seen = [node], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or not isinstance(each, yaml.CollectionNode):
            continue
        seen.add(id(each))
        if isinstance(each, yaml.MappingNode):
            yield each
            waiting += [value for _, value in each.value]
        else:
            waiting += each.value


def _check_keys(mapping: Any) -> None:
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if key.tag == MERGE:
            continue
        where = _at(key.start_mark)
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            found = (
                f"the key {key.value[:80]}"
                if isinstance(key, yaml.ScalarNode)
                else "a list or mapping as a key"
            )
            raise InputError(
                f"{where}found {found}; accepted: text (put it in quotes if it is meant as text)."
            )
        if key.value in lines:
            raise InputError(
                f"{where}the key '{key.value[:80]}' is given twice, first in line "
                f"{lines[key.value]}."
            )
        lines[key.value] = key.start_mark.line + 1


def _at(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
