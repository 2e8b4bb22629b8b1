"""Models behind the protocols that standard clients speak: `fanal serve PATH`."""
