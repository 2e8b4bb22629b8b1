"""A model or a step leaves Python: captured whole, written to one file, loaded again. Names as in `torch.export`."""
