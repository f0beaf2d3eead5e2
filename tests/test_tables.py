"""Tables of text: columns that line up, and HTML that shows what a cell holds."""

from npresnet.tables import html_table, text_lines

ROWS = [("layer", "MACs", ""), ("conv1", "118", "x < y"), ("  a", "2", "")]


def test_columns_line_up():
    assert text_lines(ROWS) == ["layer  MACs", "conv1  118   x < y", "  a    2"]
    assert text_lines(ROWS, right={1}) == ["layer  MACs", "conv1   118  x < y", "  a       2"]


def test_a_rule_is_as_wide_as_the_widest_line():
    header, rule, *body = text_lines(ROWS, rule=True)
    assert rule == "-" * len("conv1  118   x < y") and [header, *body] == text_lines(ROWS)


def test_html():
    found = html_table(ROWS, "A & B")
    assert found.startswith("<table><caption>A &amp; B</caption><tr><th>layer</th><th>MACs</th><th></th></tr>")
    assert found.endswith("<tr><td>&emsp;a</td><td>2</td><td></td></tr></table>") and "x &lt; y" in found
    assert "caption" not in html_table(ROWS)
