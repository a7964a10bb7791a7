"""A Prefect worker of type `warm`: it runs flow runs in child processes that have everything imported.

It depends on Prefect alone. Start one with ``prefect worker start --pool NAME --type warm --limit 4``.
"""
