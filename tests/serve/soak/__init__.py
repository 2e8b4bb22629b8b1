"""The server's behaviours, each a function that starts `fanal serve` as a user does and looks at it from outside.

`make soak` runs them at full counts, `tests/serve/test_behaviours.py` the same functions scaled to seconds.
"""
