"""T43: bugs that are planted on purpose; each must fail a test. bugs.py has them, run.py plants them."""
