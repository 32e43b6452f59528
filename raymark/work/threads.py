"""How many threads a process computes with; read by libraries when they are loaded."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What numerical libraries read."""

ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")
"""Environment of every process that shares a machine with others; numbers hang on no count."""
