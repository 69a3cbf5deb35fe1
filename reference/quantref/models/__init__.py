"""Models on a CPU, block by block, without a framework (SPEC.md, section 10).

Reading order: `protocols` says what a block, a layer and an executor must offer; `run` goes through
the blocks; `capture` sums the Hessians while blocks run; `task` quantizes and certifies the weights
that share a Hessian; `answer` holds the result of a task, `figures` its losses and counts; `record`
holds a finished layer's entry in the report; `checkpoint` keeps finished layers on disk;
`executors` runs tasks in threads, in processes or on other machines. `quantref.keras` adapts models
of Keras.
"""

from quantref.models.checkpoint import Checkpoint
from quantref.models.protocols import Batch, Block, Layer, Listener, Mapper
from quantref.models.record import LayerRecord, Report
from quantref.models.run import Outcome, Settings, quantize_blocks

__all__ = [
    "Batch",
    "Block",
    "Checkpoint",
    "Layer",
    "LayerRecord",
    "Listener",
    "Mapper",
    "Outcome",
    "Report",
    "Settings",
    "quantize_blocks",
]
