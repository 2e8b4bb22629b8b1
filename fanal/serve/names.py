"""What models, labels and versions may be called, in every protocol and in a repository. Only what matches is looked up
anywhere; no name that a client sends becomes part of a path."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
NUMBER = re.compile(r"[0-9]{1,18}")
