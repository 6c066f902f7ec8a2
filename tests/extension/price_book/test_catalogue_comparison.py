"""The page on which the two catalogues are compared."""

from catalogue_comparison import comparison

FRESH = {
    "a": [{"prices": {"standard": {"input": 250_000, "output": 2_000_000}}}],
    "b": [{"prices": {"standard": {"input": 1_000_000}}}],
    "c": [{"prices": {"standard": {"input": 1_000_000}}}],
}
DISPUTES = {
    "b": {"standard.input": [1_000_000, 900_000], "standard.above.tokens": [None, 200_000]},
    "c": {"flex.output": [1, 2]},
}


def test_it_says_who_agrees_who_does_not_which_stands_and_why():
    accepted = {"why": ["a reason"], "ids": {"b": [0, DISPUTES["b"]]}}

    page = comparison(FRESH, {"a", "b", "c"}, DISPUTES, accepted)

    assert "Both know 3 ids: of 1 they name the same prices" in page
    assert "| 1 | a reason |" in page
    assert "| `b` | standard.input | 1 | 0.9 | 1 | a reason |" in page
    assert "| `b` | standard.above.tokens | no step | 200,000 tokens | 200,000 tokens |" in page
    assert "| `c` | flex.output | 1e-06 | 2e-06 | 2e-06 | **nobody has looked yet** |" in page
    assert "| `a` | 0.25 | 2 |" in page
