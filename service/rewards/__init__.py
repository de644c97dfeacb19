"""Rewards: pure functions from a completion and verdicts to a number. No await, torch, web."""
