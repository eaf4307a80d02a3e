"""Where requests are answered: the same `Compressor` that evaluation measures, behind HTTP on Ray Serve."""
