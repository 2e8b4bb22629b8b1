"""Which models and versions there should be, from files; and the work of making it so."""
