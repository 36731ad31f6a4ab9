"""Campaigns longer than `make test` allows; `make torture` runs them, MINUTES=n sets how long."""
