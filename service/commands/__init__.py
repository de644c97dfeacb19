"""The commands of `soft-verifier`, one file each."""
