"""Kernels of core, compiled by numba; core.event_ids is the way in."""
