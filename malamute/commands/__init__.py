"""The commands of the command line, one module each. Imported only when the command runs."""
