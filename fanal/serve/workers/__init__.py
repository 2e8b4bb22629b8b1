"""Where models run: what a worker does with a program, and what the server knows of its workers."""
