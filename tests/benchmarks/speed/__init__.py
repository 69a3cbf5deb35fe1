"""The whole speed table: every figure of the project's performance, as ratios measured in one run.

For development only: `python -m tests.benchmarks.speed` in a checkout. Reading order: `timing`
takes turns, `row` holds what a row is and its verdict, `rows` lists them; `peers` starts other
quantizers in processes of their own (`peer_programs`); `command` runs, `table`, `report` and
`plot` show.
"""
