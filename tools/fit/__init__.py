"""Derives every coefficient of the vector maths (developer's tool; needs mpmath)."""
