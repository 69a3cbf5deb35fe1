"""Comparing an answer with a case: findings, the bug that explains them, and the verdict."""
