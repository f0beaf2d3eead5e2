"""The equations of docstrings in LaTeX, and docstrings as reST."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs/_ext"))

import docstrings
from equations import latex


def plain(text):
    """LaTeX without its spaces, which say little here."""
    for space in (r"\,", r"\;", " "):
        text = text.replace(space, "")
    return text


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("y = γ x̂ + β", r"y=\gamma\hat{x}+\beta"),
        ("dW = dY X̃ᵀ", r"dW=dY\tilde{X}^{\top}"),
        ("x̂ = (x − μ) / √(σ² + ε)", r"\hat{x}=(x-\mu)/\sqrt{\sigma^{2}+\varepsilon}"),
        ("Σ_{c,i,j} w[f,c,i,j] · x", r"\sum_{c,i,j}w[f,c,i,j]\cdotx"),
        ("Σ_j e^{z[n,j]}", r"\sum_{j}e^{z[n,j]}"),
        ("e^(−x²/2)/√(2π)", r"e^{-x^{2}/2}/\sqrt{2\pi}"),
        ("1/(1 + e⁻ˣ)", r"1/(1+e^{-x})"),
        ("⌊k/2⌋ ≤ ∞", r"\lfloork/2\rfloor\le\infty"),
        ("(s_a (a − z_a)) / s", r"(s_{a}(a-z_{a}))/s"),
        ("dx = f₁′ᵀ ( ⋯ fₖ′ᵀ dy)", r"dx=f_{1}'^{\top}(\cdotsf_{k}'^{\top}dy)"),
        ("w ~ N(0, 2/fan_out)", r"w\simN(0,2/\text{fan_out})"),
        ("y = mean(x)    z = 1    ", r"y=\text{mean}(x)\qquadz=1"),
        ("√(1 + (a b))", r"\sqrt{1+(ab)}"),
    ],
)
def test_an_equation_in_latex(typed, expected):
    assert plain(latex(typed)) == expected


def test_a_bracket_that_is_not_closed_is_an_error():
    with pytest.raises(ValueError, match="not closed"):
        latex("√(σ² + ε")


def test_a_docstring_becomes_formulas_fields_and_prose():
    found = docstrings.rest(
        "Cross-correlate *images* with filters.        [CL] §3\n"
        "\n"
        "    y = W x\n"
        "\n"
        "|x| is as it was; ``a*b`` and :func:`f` are code.\n"
        "Shapes: x (N, C),\n"
        "w (F,).\n"
        "Saves: x.\n"
        "\n"
        "size   the height\n"
        "       and width\n"
        "depth  how deep\n"
        "\n"
        "1. one\n"
        "   more\n"
        "2. two\n"
        "\n"
        ">>> f(1) * 2\n"
        "2\n"
    )
    assert found.split("\n\n") == [
        r"Cross-correlate \*images\* with filters. [CL] §3",
        r".. math:: y\, =\, W\, x",
        r"\|x\| is as it was; ``a*b`` and :func:`f` are code.",
        ":Shapes: x (N, C),\n    w (F,).",
        ":Saves: x.",
        "``size``\n    the height\n    and width",
        "``depth``\n    how deep",
        "1. one\n   more\n2. two",
        ">>> f(1) * 2\n2\n",
    ]


def test_a_summary_that_is_an_equation_becomes_one():
    assert docstrings.rest("y = max(x, 0);   dx = dy · [y > 0].").startswith(
        r".. math:: y\, =\, \text{max}(x,\, 0)\qquad dx"
    )
    assert docstrings.rest("y is what it was.") == "y is what it was.\n"
