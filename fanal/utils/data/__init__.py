"""`fanal.data` under PyTorch's name: `from fanal.utils.data import DataLoader`."""

from fanal.data import *
from fanal.data import __all__ as __all__
