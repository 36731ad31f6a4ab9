"""Iceberg metadata over the segments of a stream. The way in is storage.exports."""
