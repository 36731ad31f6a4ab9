"""Owns the search for inputs on which the compiled shredders crash, hang, or differ from the reference.

`targets` says what is run and compared, `mutate` makes inputs, `fence` makes a wrong address a crash. `replay` runs the
stored corpus and seeded inputs in a process of its own (`make test` starts it); `__main__` is `make fuzz`.
"""
