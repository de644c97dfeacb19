"""What is told of single requests: log lines and traces. Figures over many are ``metrics``."""
