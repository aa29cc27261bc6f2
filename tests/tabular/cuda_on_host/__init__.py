"""Runs the CUDA source of rlbook.tabular.gpu on a CPU: built by g++, called through an array module like CuPy."""
