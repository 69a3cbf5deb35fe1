"""The commands `quantref quantize` and `quantref certify`: files in, files and a table out."""
