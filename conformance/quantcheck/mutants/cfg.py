"""Mutants of section CFG: configs."""

from quantcheck.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("cfg-axis-lost", "quantref.absmax", "AbsMaxQuantizer.get_config",
           "None if self.axis is None else list(self.axis)",
           "None",
           "The axis is lost when a quantizer is saved.", "cfg", blames="CFG-020"),
    mutant("cfg-default-axis", "quantref.config", "",
           '{"axis": -1}',
           "{}",
           "The default activation quantizer does not say which axis it means.", "cfg", blames="CFG-060"),
    mutant("cfg-activation-lost", "quantref.config", "QuantizationConfig.from_config",
           'deserialize_quantizer(config.get("activation_quantizer"))',
           '"default"',
           "A saved activation quantizer comes back as the default one.", "cfg", blames="CFG-060"),
    mutant("cfg-damping-unchecked", "quantref.config", "GPTQConfig.__init__",
           'require_damping(hessian_damping, where, "hessian_damping")',
           "float(hessian_damping)",
           "Damping outside [0, 1] is accepted.", "cfg", blames="CFG-080"),
    mutant("cfg-group-default", "quantref.config", "GPTQConfig.__init__",
           "group_size: int = 128",
           "group_size: int = 64",
           "The default group size is 64 instead of 128.", "cfg", blames="CFG-070"),
    mutant("cfg-epsilon-lost", "quantref.absmax", "AbsMaxQuantizer.get_config",
           "self.epsilon",
           "EPSILON",
           "The default epsilon is saved instead of the one that was given.", "cfg", blames="CFG-040"),
    mutant("cfg-bits-unchecked", "quantref.config", "GPTQConfig.__init__",
           "require_weight_bits(weight_bits, where)",
           'require_count(weight_bits, "weight_bits", where)',
           "Any positive number of bits is accepted.", "cfg", blames="CFG-080"),
)  # fmt: skip
