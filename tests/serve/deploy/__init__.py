"""Past one machine: containers, Kubernetes, Ray."""
