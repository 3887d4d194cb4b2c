"""The commands of `stenhance`, one file each: its line of help, its options, and what it does.

Importing them imports nothing heavy, so that `--help` comes at once: what a command computes with, `run` imports.
"""
