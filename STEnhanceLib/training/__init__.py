"""Recipes that make every shipped weight, and what they learn from; never imported at run time."""
