"""The compiled kernels of storage. Importing one imports numba, so that only what writes segments does."""
