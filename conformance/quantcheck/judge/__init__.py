"""Judges an answer to a case: findings, the mistake that explains them, and the verdict."""
