"""`quantcheck --self-test --large`: what the certificate passes and finds in large matrices.

Two tables by size. The first is of correct implementations: forms of the feedback, precisions and
libraries. No check may fail, and observed ÷ bound must come near to 1 for every requirement, in
groups of the first column block and of later ones apart. The second is of deviations, each in ten
draws: how many draws the certificate finds. SPEC.md, section 8, has the limits that follow.
"""
