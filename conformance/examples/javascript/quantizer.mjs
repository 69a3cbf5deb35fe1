#!/usr/bin/env node
/** A target of quantcheck: sections 2 to 7 and 13 of SPEC.md, without dependencies. */

import { absMaxDequantize, absMaxQuantize, absMaxQuantizer } from "./absmax.mjs";
import { affineDequantize, affineParameters, affineQuantize } from "./affine.mjs";
import { gptqQuantize } from "./gptq.mjs";
import { groupedDequantize, groupedQuantize } from "./grouped.mjs";
import { accumulateHessian, factorOperation, prepareHessian } from "./hessian.mjs";
import { packLayer, unpackLayer } from "./packed_layers.mjs";
import { pack, unpack } from "./packing.mjs";
import { serve } from "./protocol.mjs";
import { roundHalfEven, saturatingCast } from "./rounding.mjs";
import { packTernary, unpackTernary } from "./ternary.mjs";

/** `optional`: parameters that may be left out; all routes are one here, and so are all ways to give a default. */
const operation = (inputs, parameters, run, optional = []) => ({ inputs, parameters, run, optional });

const OPERATIONS = {
  round_half_even: operation(["x"], [], roundHalfEven),
  saturating_cast: operation(["x"], ["dtype"], saturatingCast),
  abs_max_quantize: operation(["x"], ["axis", "value_range", "epsilon", "output_dtype"], absMaxQuantize, ["route", "left_out"]),
  abs_max_quantizer: operation(["x"], ["arguments", "call_axis"], absMaxQuantizer, ["route", "left_out"]),
  abs_max_dequantize: operation(["codes", "scale"], [], absMaxDequantize),
  affine_parameters: operation(["weights"], ["bits", "symmetric", "per_channel", "group_size"], affineParameters),
  affine_quantize: operation(["weights", "scale", "zero_point", "g_idx"], ["bits"], affineQuantize),
  affine_dequantize: operation(["codes", "scale", "zero_point", "g_idx"], [], affineDequantize),
  pack: operation(["codes"], ["bits", "axis"], pack),
  unpack: operation(["packed"], ["bits", "axis", "length"], unpack),
  pack_ternary: operation(["codes"], ["axis"], packTernary),
  unpack_ternary: operation(["packed"], ["axis", "length"], unpackTernary),
  pack_layer: operation(["codes", "zero_point"], ["format", "bits", "group_size"], packLayer),
  unpack_layer: operation(
    ["packed", "packed_zero_point"],
    ["format", "bits", "group_size", "n_out", "n_in"],
    unpackLayer,
  ),
  hessian: operation(["batches"], [], accumulateHessian),
  prepare_hessian: operation(["hessian"], ["damping", "activation_order"], prepareHessian),
  factor: operation(["hessian"], [], factorOperation),
  gptq_quantize: operation(
    ["weights", "hessian"],
    ["bits", "symmetric", "per_channel", "group_size", "activation_order", "damping", "block_size"],
    gptqQuantize,
  ),
  grouped_quantize: operation(
    ["weights"],
    ["block_size", "value_range", "epsilon", "output_dtype"],
    groupedQuantize,
    ["route"],
  ),
  grouped_dequantize: operation(["codes", "scale", "zero_point", "g_idx"], [], groupedDequantize),
};

const ABOUT = {
  name: "javascript example",
  version: "0.1",
  backend: "node",
  precision: "float64",
  choices: ["all"], // written from SPEC.md, so it follows what SPEC.md chose too
  versions: { node: process.versions.node },
};

process.stdout.on("error", () => process.exit(0)); // whoever asked has gone
await serve(process.stdin, process.stdout, ABOUT, OPERATIONS);
