"""A run's text as HTML."""

from __future__ import annotations

from biocl.reports.notebook import markdown_html


def test_tables_become_tables_and_everything_is_escaped() -> None:
    html = markdown_html(
        "protocol: <b>&\n\n| what | F1 |\n|---|---|\n| a<b | .5 [.4, .6] |\n| c | – |\n\nrun folder: x|y"
    )
    assert html.count("<table>") == 1
    assert html.count("<tr>") == 3
    assert "<p>protocol: &lt;b&gt;&amp;</p>" in html
    assert "a&lt;b</td>" in html
    assert html.endswith("<p>run folder: x|y</p>")
