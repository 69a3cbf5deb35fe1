"""`quantcheck --self-test`: every planted bug is caught, nobody honest is blamed.  [VER-080]

The first table puts each mutant to the vectors alone and to the properties alone: both must
catch it and blame the requirement that it breaks. The second one puts honest variants, which differ
from the reference in arithmetic only, to the vectors and to generated cases: no requirement may
fail. A third one shows how near they come to each bound: one that nobody ever comes near to does
not bite.
"""
