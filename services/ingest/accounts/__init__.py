"""Accounts: what is done to them and their keys, and how much they may use."""
