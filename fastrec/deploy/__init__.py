"""Stage 6: one ONNX graph, a package that runs without fastrec, and a service that a person can try."""
