"""Rows of the results; each module measures some of them."""
