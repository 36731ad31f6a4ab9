"""Launching on Ray: settings, topology, health. Owns no data."""
