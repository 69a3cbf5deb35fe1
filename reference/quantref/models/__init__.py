"""Models on a CPU, block by block, without a framework (SPEC.md, section 10).

Reading order: `run` goes through the blocks, which it knows by their `protocols`; `capture` sums
the Hessians while they run; `task` is what one Hessian and the weights that share it need, `answer`
what comes back, with its `figures`; `record` is what is known of a layer afterwards; `checkpoint`
keeps layers that are done; `executors` do the tasks. `quantref.keras` brings models to it.
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
