"""Target `keras:BACKEND`: the quantizers of Keras on one of its backends."""
