"""Edits of the SLOs in the text of an experiments file: all other characters of the file stay as they are.

The text is edited at the places that PyYAML's nodes have, instead of being written again from its values: a
writer of YAML, even one that keeps comments, also changes quotes, indentation and line breaks elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# The key for all targets, or all machines, that have no key of their own.
OTHERS = "*"
_ANCHOR = re.compile(r"&\S+[ \t]*(?:#[^\n]*)?(?:\r?\n[ \t]*)?")
_ALIAS = re.compile(r"\s*:\s*(?P<alias>\*[^\s,\]}]+)")
_STEP = 2


@dataclass(frozen=True, slots=True)
class _Spot:
    """A value in the text.

    Attributes:
        node: the value.
        start: where its text begins, with an anchor.
        end: where its text ends.
        column: the column of its key.
        is_flow: whether it stands inside brackets or braces.
    """

    node: yaml.Node
    start: int
    end: int
    column: int
    is_flow: bool


class SloEditor:
    """The text of an experiments file, whose SLOs are changed.

    Args:
        path: the file.
        text: the text, which can be read as an experiments file.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[tuple[int, int, str]] = []
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        assert node
        top = _mapping(node)
        entries = _value_of(top, "experiments")
        assert isinstance(entries, yaml.SequenceNode)
        self._entries = [_mapping(entry) for entry in entries.value]
        defaults = _value_of(top, "defaults")
        self._defaults = _mapping(defaults) if defaults else None
        self._uses = _uses(top)

    def shared(self, index: int) -> frozenset[int]:
        """Return the entries whose SLOs are the same text as those of an entry, with the entry itself."""
        wanted = self._slo_of(index)
        if wanted is None:
            return frozenset({index})
        return frozenset(other for other in range(len(self._entries)) if self._slo_of(other) is wanted)

    def set(self, index: int, path: Sequence[str], slos: Sequence[str]) -> None:
        """Set the SLOs of an entry, and of all entries that share them.

        Args:
            index: the number of the entry.
            path: the target, and the machine if its SLOs are by machine.
            slos: the SLOs. They replace one by one those that are there for the path, if there are any.

        Raises:
            ConfigurationError: if the SLOs for the path are also those of another place.
        """
        if spot := self._place_of_slo(index):
            self._set(spot, [*path], slos, is_top=True)
        else:
            self._add(self._entries[index], [*path], slos)

    def text(self) -> str:
        """Return the text with all changes."""
        text = self._text
        for start, end, new in sorted(self._edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _slo_of(self, index: int) -> yaml.Node | None:
        own = _value_of(self._entries[index], "slo")
        return own or (_value_of(self._defaults, "slo") if self._defaults else None)

    def _place_of_slo(self, index: int) -> _Spot | None:
        """Return the SLOs of an entry, where they are written out and not an alias; None without SLOs."""
        node = self._slo_of(index)
        owners = [*self._entries, *([self._defaults] if self._defaults else [])]
        spots = (self._spot(owner, "slo", is_flow=bool(owner.flow_style)) for owner in owners)
        found = [spot for spot in spots if spot and spot.node is node]
        return max(found, key=lambda spot: spot.start == spot.node.start_mark.index, default=None)

    def _set(self, spot: _Spot, path: list[str], slos: Sequence[str], *, is_top: bool = False) -> None:
        if not path:
            self._replace(spot, slos)
        elif not isinstance(spot.node, yaml.MappingNode):
            self._wrap(spot, path, slos, is_inside_anchor=is_top)
        elif inner := self._spot(spot.node, path[0], is_flow=spot.is_flow or bool(spot.node.flow_style)):
            self._set(inner, path[1:], slos)
        else:
            self._insert(spot, path, slos)

    def _replace(self, spot: _Spot, slos: Sequence[str]) -> None:
        """Replace SLOs one by one; each keeps its quotes. An alias becomes a list of its own."""
        if self._text[spot.start] == "*":
            self._edit(spot.start, spot.end, _list(slos))
            return
        if self._uses[id(spot.node)] > 1:
            line = spot.node.start_mark.line + 1
            raise ConfigurationError(
                f"{self._path}:{line}: these SLOs are also used elsewhere, by an alias; write them out there"
            )
        items = spot.node.value if isinstance(spot.node, yaml.SequenceNode) else [spot.node]
        for item, slo in zip(items, slos, strict=True):
            quote = self._text[item.start_mark.index]
            new = f"{quote}{slo}{quote}" if quote in "\"'" else slo
            self._edit(item.start_mark.index, item.end_mark.index, new)

    def _wrap(self, spot: _Spot, path: list[str], slos: Sequence[str], *, is_inside_anchor: bool) -> None:
        """Put SLOs for all under `OTHERS`, beside those for the path.

        An anchor of SLOs that other entries share stays before all of them, any other one before the old
        SLOs.
        """
        start = spot.start
        if is_inside_anchor and (anchor := _ANCHOR.match(self._text, start)):
            start = anchor.end()
        if spot.is_flow:
            self._edit(start, start, f"{{{_flow(path, slos)}, {_quoted(OTHERS)}: ")
            self._edit(spot.end, spot.end, "}")
        elif isinstance(spot.node, yaml.SequenceNode) and not spot.node.flow_style:
            self._wrap_lines(spot, start, path, slos)
        else:
            self._wrap_on_a_line(spot, start, path, slos)

    def _wrap_on_a_line(self, spot: _Spot, start: int, path: list[str], slos: Sequence[str]) -> None:
        before = len(self._text[:start].rstrip(" \t"))
        indent = " " * (spot.column + _STEP)
        lines = [*_block(path, slos, indent), f"{indent}{_quoted(OTHERS)}: "]
        is_alone = self._text[before - 1] == "\n"
        self._edit(before, start, ("" if is_alone else self._newline) + self._newline.join(lines))

    def _wrap_lines(self, spot: _Spot, start: int, path: list[str], slos: Sequence[str]) -> None:
        """Put a list with a line for each SLO under `OTHERS`."""
        begin = self._text.rindex("\n", 0, start) + 1
        more = " " * _STEP if start - begin == spot.column else ""
        if more:
            for line in re.finditer(r"\n(?=.*\S)", self._text[begin : spot.end]):
                self._edit(begin + line.end(), begin + line.end(), more)
        indent = more + " " * (start - begin)
        lines = [*_block(path, slos, indent), f"{indent}{_quoted(OTHERS)}:", more]
        self._edit(begin, begin, self._newline.join(lines))

    def _insert(self, spot: _Spot, path: list[str], slos: Sequence[str]) -> None:
        """Add a key as the first one of a mapping."""
        node = _mapping(spot.node)
        first = node.value[0][0].start_mark
        if node.flow_style:
            self._edit(first.index, first.index, f"{_flow(path, slos)}, ")
            return
        indent = " " * first.column
        lines = [*_block(path, slos, indent), indent]
        self._edit(first.index, first.index, self._newline.join(lines).removeprefix(indent))

    def _add(self, entry: yaml.MappingNode, path: list[str], slos: Sequence[str]) -> None:
        """Add SLOs as the last key of an entry that has none."""
        first = entry.value[0][0].start_mark
        last = max(self._span(key, value)[1] for key, value in entry.value)
        last = len(self._text[:last].rstrip())
        if entry.flow_style:
            self._edit(last, last, f", slo: {{{_flow(path, slos)}}}")
            return
        line_end = self._text.find("\n", last)
        at = len(self._text) if line_end < 0 else line_end
        at -= self._text[:at].endswith("\r")
        lines = ["", *_block(["slo", *path], slos, " " * first.column)]
        self._edit(at, at, self._newline.join(lines))

    def _edit(self, start: int, end: int, new: str) -> None:
        self._edits.append((start, end, new))

    def _spot(self, node: yaml.MappingNode, name: str, *, is_flow: bool) -> _Spot | None:
        """Return the value of a key; None without the key."""
        for key, value in node.value:
            if key.value == name:
                start, end = self._span(key, value)
                return _Spot(value, start, end, key.start_mark.column, is_flow)
        return None

    def _span(self, key: yaml.Node, value: yaml.Node) -> tuple[int, int]:
        """Return where the text of a key's value begins and ends; an alias is its own text."""
        alias = _ALIAS.match(self._text, key.end_mark.index)
        if alias:
            return alias.start("alias"), alias.end("alias")
        return value.start_mark.index, self._end(value)

    def _end(self, node: yaml.Node) -> int:
        """Return where the text of a node ends, without the comments and empty lines behind it."""
        if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
            if isinstance(node, yaml.MappingNode):
                return max(self._span(key, value)[1] for key, value in node.value)
            return max(map(self._end, node.value))
        return int(node.end_mark.index)


def _mapping(node: yaml.Node) -> yaml.MappingNode:
    assert isinstance(node, yaml.MappingNode)
    return node


def _value_of(node: yaml.MappingNode, name: str) -> yaml.Node | None:
    return next((value for key, value in node.value if key.value == name), None)


def _uses(top: yaml.Node) -> dict[int, int]:
    """Return how often each value is used: anchored ones once more for each alias."""
    counts: dict[int, int] = {}
    for node in _values(top):
        counts[id(node)] = counts.get(id(node), 0) + 1
    return counts


def _values(node: yaml.Node) -> Iterator[yaml.Node]:
    yield node
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _values(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _values(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes, which JSON and YAML read alike."""
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.isalpha() else _quoted(name)


def _list(slos: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, slos))}]"


def _flow(path: Sequence[str], slos: Sequence[str]) -> str:
    """Return ``target: {machine: [slos]}`` on one line."""
    name, *inner = path
    return f"{_key(name)}: {f'{{{_flow(inner, slos)}}}' if inner else _list(slos)}"


def _block(path: Sequence[str], slos: Sequence[str], indent: str) -> Iterator[str]:
    """Yield the same in a line for each key."""
    name, *inner = path
    if not inner:
        yield f"{indent}{_key(name)}: {_list(slos)}"
        return
    yield f"{indent}{_key(name)}:"
    yield from _block(inner, slos, indent + " " * _STEP)
