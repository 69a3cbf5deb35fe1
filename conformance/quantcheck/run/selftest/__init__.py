"""`quantcheck --self-test`: the suite detects every mutant and fails no variant.  [VER-080]

The first table is about mutants. The vectors alone and the properties alone must both detect each
mutant, and the first requirement to fail must be the one that the mutant breaks. The second table
is about variants, which differ from the reference in arithmetic only. They answer the vectors and
generated cases, and no requirement may fail. The third table shows the largest observed ÷ bound of
all variants. A bound that no variant comes near to is too wide to detect mistakes.
"""
