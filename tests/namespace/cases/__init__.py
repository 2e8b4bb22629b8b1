"""Every sample call is one line: an expression of `f` (the library) and the inputs of `runner`."""

from tests.namespace.cases import asking, elementwise, reducing, shapes, writing

GROUPS = {m.__name__.rsplit(".", 1)[-1]: m for m in (asking, elementwise, reducing, shapes, writing)}
ALL = [line for m in GROUPS.values() for line in m.VALUES.strip().splitlines()]
