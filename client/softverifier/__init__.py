"""Rewards for RL trainers from a soft-verifier server."""
