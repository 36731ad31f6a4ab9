"""The face of Malamute: connect(), Client, results and the command line."""
