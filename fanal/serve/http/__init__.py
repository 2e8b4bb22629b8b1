"""REST: Open Inference Protocol v2 and TensorFlow Serving's paths, over HTTP/1.1."""
