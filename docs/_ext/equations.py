"""Equations as they are typed in docstrings, y = γ x̂ + β, in LaTeX: y=\\gamma \\hat{x}+\\beta."""

import re
import unicodedata

SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵗˣⁿᵏ", "0123456789-+Ttxnk"))
SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉ₖₙₗ", "0123456789knl"))
ACCENT = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar"}
SIGN = {
    "Σ": r"\sum ", "Π": r"\prod ", "·": r"\cdot ", "−": "-", "×": r"\times ", "∘": r"\circ ", "⊙": r"\odot ",
    "±": r"\pm ",
    "←": r"\leftarrow ", "→": r"\to ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "~": r"\sim ",
    "∞": r"\infty ", "⋯": r"\cdots ", "…": r"\ldots ", "′": "'", "∂": r"\partial ", "∇": r"\nabla ", "∈": r"\in ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "‖": r"\Vert ", "{": r"\{", "}": r"\}",
    "%": r"\%", "&": r"\&", "#": r"\#", "<": "<", ">": ">", "_": r"\_",
}  # fmt: skip
GREEK = {letter: f"\\{unicodedata.name(letter).split()[-1].lower()} " for letter in "αβγδεζηθικμνξπρστχψω"}
GREEK |= {letter: f"\\{unicodedata.name(letter).split()[-1].capitalize()} " for letter in "ΓΔΘΞΦΨΩ"}
GREEK |= {"ε": r"\varepsilon ", "λ": r"\lambda ", "φ": r"\varphi ", "Λ": r"\Lambda "}
PAIRS = {"(": ")", "[": "]", "{": "}"}
TOKEN = re.compile(
    r"(?P<code>``.+?``|:\w+:`.+?`)"
    r"|(?P<source>\[[A-Z]{1,3}\d?\](?: (?:Eq|App|Algorithm|§)[^;]*)?)"
    r"|(?P<word>(?!d[A-Za-z](?![A-Za-z]))[A-Za-z][A-Za-z]+(?:_[a-z]{2,})*|\d[\d.,]*\d|\d)"
    r"|(?P<over>[^\W\d_][\u0302-\u0304])"
    r"|(?P<super>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵗˣⁿᵏ]+)|(?P<sub>[₀₁₂₃₄₅₆₇₈₉ₖₙₗ]+)"
    r"|(?P<space> +)|(?P<other>.)"
)


def latex(text):
    """One or several equations, four or more spaces between them."""
    return r"\qquad ".join(one(part) for part in re.split(r" {4,}", text.strip()))


def one(text):
    """The LaTeX of one equation."""
    done, rest = "", text
    while rest:
        piece, rest = take(rest)
        done += piece
    return done


def take(text):
    """The LaTeX of the first thing in a text, and what follows it."""
    for sign, command in (("√", r"\sqrt"), ("_", "_"), ("^", "^")):
        if text.startswith(sign) and len(text) > 1:
            inner, rest = group(text[1:])
            return f"{command}{{{one(inner)}}}", rest
    match = TOKEN.match(text)
    return written(match.lastgroup, match[0]), text[match.end() :]


def group(text):
    """What is within the brackets that a text begins with, or its first word or letter, and what follows."""
    if text[0] not in PAIRS or text[0] == "[":
        match = TOKEN.match(text)
        return match[0], text[match.end() :]
    depth = 0
    for k, c in enumerate(text):
        depth += (c == text[0]) - (c == PAIRS[text[0]])
        if depth == 0:
            return text[1:k], text[k + 1 :]
    raise ValueError(f"a bracket is not closed: {text}")


def written(kind, token):
    """The LaTeX of one token."""
    if kind == "code":
        name = token.strip("`").split("`")[-1].split(".")[-1]
        return rf"\texttt{{{name}}}"
    if kind == "source" or kind == "word":
        return token if token[0].isdigit() else rf"\text{{{token}}}"
    if kind == "over":
        return f"{ACCENT[token[1]]}{{{token[0]}}}"
    if kind in ("super", "sub"):
        letters = (SUPER if kind == "super" else SUB)[token[0]] if len(token) == 1 else None
        letters = letters or "".join((SUPER if kind == "super" else SUB)[c] for c in token)
        letters = r"\top" if letters == "T" else letters
        return ("^" if kind == "super" else "_") + f"{{{letters}}}"
    if kind == "space":
        return r"\; " if len(token) > 1 else r"\, "
    return GREEK.get(token) or SIGN.get(token, token)
