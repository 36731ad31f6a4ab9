"""Benchmarks: each module measures one thing and stores what it measured."""
