"""Bytes and objects to columnar batches: shredding, formats, producers. Never touches Ray or storage."""
