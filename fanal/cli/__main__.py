"""`python -m fanal.cli`, where the command is not on the path."""

import sys

from fanal.cli.command import main

sys.exit(main())
