"""Finding JSON that stands in a text, in time linear in its length whatever the text is.

`json.JSONDecoder.raw_decode` at every bracket is quadratic on text such as "[[[[…", and recursion bounds its depth.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

_OPENING = regex.compile(r"[\[{]")
_LEXEME = regex.compile(
    r"""\s*+ (?:
        (?P<string> " (?: [^"\\\x00-\x1f] | \\["\\/bfnrt] | \\u[0-9a-fA-F]{4} )*+ " )
      | (?P<scalar> -?(?: 0 | [1-9][0-9]*+ ) (?:\.[0-9]++)? (?:[eE][-+]?[0-9]++)? | true\b | false\b | null\b )
      | (?P<mark> [\[\]{},:] )
    )""",
    regex.VERBOSE,
)
# What may follow, by state. A value is a string, a scalar or an opening bracket.
_ALLOWED = {
    "value": {"string", "scalar", "[", "{"},
    "value or end": {"string", "scalar", "[", "{", "]"},
    "key": {"string"},
    "key or end": {"string", "}"},
    "colon": {":"},
    "comma or end": {",", "]", "}"},
}
_PARTNER = {"]": "[", "}": "{"}


def _read(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Read from an opening bracket to its partner or to the first mistake.

    Returns the outermost complete objects and arrays, and where reading stopped: nothing before that is worth another
    look, for what was open at a mistake cannot be completed.
    """
    complete: list[tuple[int, int]] = []
    open_brackets: list[tuple[str, int]] = []
    state, position = "value", start
    while found := _LEXEME.match(text, position):
        symbol = found["mark"] or found.lastgroup
        partner = _PARTNER.get(symbol)
        if symbol not in _ALLOWED[state] or (partner and open_brackets[-1][0] != partner):
            break
        position = found.end()
        if symbol in ("[", "{"):
            open_brackets.append((symbol, position - 1))
            state = "value or end" if symbol == "[" else "key or end"
        elif symbol == ",":
            state = "value" if open_brackets[-1][0] == "[" else "key"
        elif symbol == ":":
            state = "value"
        elif partner:
            opened = open_brackets.pop()[1]
            while complete and complete[-1][0] > opened:
                complete.pop()
            complete.append((opened, position))
            if not open_brackets:
                break
            state = "comma or end"
        else:
            state = "colon" if state.startswith("key") else "comma or end"
    return complete, max(position, start + 1)


def json_spans(text: str) -> Iterator[tuple[int, int]]:
    """Half-open character spans of the outermost JSON objects and arrays in `text`, "[1]" and "{}" included."""
    position = 0
    while found := _OPENING.search(text, position):
        complete, position = _read(text, found.start())
        yield from complete
