"""Models on a CPU, block by block, without a framework (SPEC.md, section 10).

Reading order: `task` is what one Hessian and the weights that share it need; `capture` sums the
Hessians while blocks run; `run` goes through the blocks; `record` is what is known of each layer
afterwards; `checkpoint` keeps layers that are done. `quantref.keras` brings models to it.
"""

from quantref.pipeline.checkpoint import Checkpoint
from quantref.pipeline.record import LayerRecord, Report
from quantref.pipeline.run import (
    Batch,
    Block,
    Layer,
    Listener,
    Mapper,
    Outcome,
    Settings,
    quantize_blocks,
)

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
