"""Words for whoever reads the command line, an error or the log: how many of something, and texts of other people."""

from __future__ import annotations

#: Joiners and variation selectors: terminals disagree about the width of what these join, so they are removed.
_JOINERS = dict.fromkeys([0x200D, *range(0xFE00, 0xFE10)])


def many(count: int, noun: str, one: str = "", more: str = "") -> str:
    """A number and its noun, perhaps with a verb: that of one, and that of several.

    >>> many(1, "entry"), many(2, "entry"), many(0, "slot")
    ('1 entry', '2 entries', '0 slots')
    >>> many(1, "call", "waits", "wait"), many(2, "call", "waits", "wait")
    ('1 call waits', '2 calls wait')
    """
    if count == 1:
        return f"1 {noun} {one}".rstrip()
    return f"{count} {noun[:-1]}ies {more}".rstrip() if noun.endswith("y") else f"{count} {noun}s {more}".rstrip()


def one_line(text: str) -> str:
    r"""One line of text without control characters: names and notes are other people's input.

    >>> one_line("a\nb \x1b[31m")
    'a b \ufffd[31m'
    """
    text = " ".join(text.split())
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text.translate(_JOINERS))
