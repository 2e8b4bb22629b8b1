"""The page that shows a study: `page.render(found)` makes it of the data and nothing else.

`verdict.py` is the first screen, area by area; `plots.py` draws; `sections.py` has the rest.
"""
