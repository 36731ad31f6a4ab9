"""Thin Ray actors: wiring, concurrency and error mapping. Decides nothing."""
