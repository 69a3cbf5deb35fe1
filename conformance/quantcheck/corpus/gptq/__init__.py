"""Section GPTQ: `plain`, `special` and `recipes` have the cases, `build` computes values."""
