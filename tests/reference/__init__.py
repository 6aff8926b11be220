"""Naive twins of the native modules: slow, short, and written from the rules alone."""
