"""What each primitive means, the composite functions made of them, and derivatives of graphs."""
