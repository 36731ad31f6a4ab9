"""Stores as each released format wrote them, and the script that made them."""
