"""Mutants of section CFG: configs."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("cfg-axis-lost", "absmax", '"axis": None if self.axis is None else list(self.axis)',
       '"axis": None',
       "The axis is lost when a quantizer is saved.", "cfg"),
    mutant("cfg-default-axis", "config", "activation_quantizer = AbsMaxQuantizer(axis=-1)  #",
       "activation_quantizer = AbsMaxQuantizer()  #",
       "The default activation quantizer does not say which axis it means.", "cfg"),
    mutant("cfg-activation-lost", "config",
       'deserialize_quantizer(config.get("activation_quantizer")),', '"default",',
       "A saved activation quantizer comes back as the default one.", "cfg"),
    mutant("cfg-damping-unchecked", "config", "if not 0 <= self.hessian_damping <= 1:", "if False:",
       "Damping outside [0, 1] is taken.", "cfg"),
)  # fmt: skip
