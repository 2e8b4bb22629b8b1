"""Where PyTorch's users look for `utils.data`."""
