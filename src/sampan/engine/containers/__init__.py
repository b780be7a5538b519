"""Containers: one module per way of theirs.

    request/   what a create request may say, and its defaults
    creation → starting → ending (restart, auto-remove) → removal;  stopping, updating, networking in between
    recovery   what a new engine makes of what it finds

`containers.Containers` is what the API and other rooms call; `model` is one container.
"""
