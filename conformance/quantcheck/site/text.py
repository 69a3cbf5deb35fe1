"""Markdown as HTML for pages: nothing in it becomes markup, and no link leaves the site unseen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

ID = re.compile(r"\b[A-Z]{2,}-\d{3}\b")
MARKED = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*)")
TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)
SCROLL = '<div class="scroll" role="region" aria-label="Table" tabindex="0">'
ABSOLUTE = re.compile(r"(?i)https?://|#")


def inline(text: str) -> Markup:
    """Return a sentence of SPEC.md as HTML: `code` and **strong** words, as on a report's page.

    Examples
    --------
    >>> print(inline("`x` MUST be <b>"))
    <code>x</code> MUST be &lt;b&gt;
    """
    parts = MARKED.split(text)  # text, `code`, text, **strong**, …
    made = (_marked(part) if place % 2 else escape(part) for place, part in enumerate(parts))
    return Markup("").join(made)


def page(text: str, pages: Mapping[str, str]) -> Markup:
    r"""Return a document in Markdown as HTML.

    The first heading is left out; see `heading`. Others have anchors. Links to other files are
    dropped, since these are not in the site, and requirements link to their pages.

    Parameters
    ----------
    text : str
    pages : mapping
        Addresses by id of a requirement.

    Examples
    --------
    >>> print(page("# One\n## Two\n\nSee [this](a.md), AFF-010.", {"AFF-010": "a.html"}))
    <h2 id="two">Two</h2>
    <p>See this, <a href="a.html">AFF-010</a>.</p>
    """
    parser = _parser()
    parser.add_render_rule("table_open", lambda *_: f'{SCROLL}<table class="told">\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(TITLE.sub("", text, count=1))
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        if token.type == "inline" and token.children:
            token.children = _linked(token.children, pages)
    return Markup(parser.renderer.render(tokens, parser.options, {}).strip())  # noqa: S704 - as above


def heading(text: str) -> str:
    r"""Return the words of the first heading of a document; empty if there is none.

    Examples
    --------
    >>> heading("words\n\n# What `we` found\n")
    'What we found'
    """
    found = TITLE.search(text)
    return found[1].replace("`", "").strip() if found else ""


def anchor(words: str) -> str:
    """Return the anchor of a heading, as GitHub makes it.

    Examples
    --------
    >>> anchor("What `Keras` 3.15 does, in short")
    'what-keras-315-does-in-short'
    """
    return re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")


def _marked(part: str) -> Markup:
    name, width = ("code", 1) if part.startswith("`") else ("strong", 2)
    return Markup("<{0}>{1}</{0}>").format(name, part[width:-width])


def _parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    made.add_render_rule("image", _words_of_image)
    return made


def _words_of_image(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    """Return the words for an image: the page loads nothing."""
    return str(escape(tokens[place].content))


def _linked(tokens: Sequence[Token], pages: Mapping[str, str]) -> list[Token]:
    """Link requirements, and drop links to files that are not in the site."""
    made: list[Token] = []
    kept: list[bool] = []  # of the links that are open
    for token in tokens:
        if token.type == "link_open":
            kept.append(bool(ABSOLUTE.match(str(token.attrGet("href")))))
            if kept[-1]:
                made.append(token)
        elif token.type == "link_close":
            if kept.pop():
                made.append(token)
        elif token.type in ("text", "code_inline") and not any(kept):
            made += _split(token, pages)
        else:
            made.append(token)
    return made


def _split(token: Token, pages: Mapping[str, str]) -> list[Token]:
    """Return a token with its requirements as links."""
    if token.type == "code_inline":
        address = pages.get(token.content)
        return [token] if address is None else [_open(address), token, Token("link_close", "a", -1)]
    made, end = [], 0
    for match in ID.finditer(token.content):
        if match[0] in pages:
            made += [_text(token.content[end : match.start()]), _open(pages[match[0]])]
            made += [_text(match[0]), Token("link_close", "a", -1)]
            end = match.end()
    return [*made, _text(token.content[end:])]


def _open(address: str) -> Token:
    return Token("link_open", "a", 1, attrs={"href": address})


def _text(words: str) -> Token:
    return Token("text", "", 0, content=words)
