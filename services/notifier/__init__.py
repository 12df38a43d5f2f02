"""Reconciles groups until they are settled, finishes requests, delivers webhooks."""
