"""PyTorch's path of the sampler for several processes."""

from fanal.data import DistributedSampler

__all__ = ["DistributedSampler"]
