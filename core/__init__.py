"""The vocabulary of Malamute: ids, errors, limits, clock, event batches. Imports nothing of ours."""
