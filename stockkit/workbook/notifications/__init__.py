"""One notification a run: its outcome over the channels that a user names.

The channels are in the registry of `channels`; `sending` sends over them, and `announcing` sees to it that it is once.
"""
