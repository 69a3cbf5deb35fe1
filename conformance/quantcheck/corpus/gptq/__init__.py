"""Section GPTQ: `plain` and `special` have the cases, `build` computes their expected values."""
