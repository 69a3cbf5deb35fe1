//! Section 5: layers in the packed arrays of other libraries.

use crate::arguments::Arguments;
use crate::arrays::{refused, Answer, Array, Dtype};

/// How the words of a layer lie in its two arrays.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Columns, // [PACK-100]
    Rows,    // [PACK-120]
    Blocks,  // [PACK-140]
}

struct Format {
    layout: Layout,
    whole: bool, // [PACK-130]
    less: i128,  // what is stored for a zero-point is less by this
    bits: usize,
    rows: usize,
    columns: usize,
    group_size: usize,
}

type Lines = Vec<Vec<i128>>;

/// `pack_layer`: the packed codes, and the packed zero-points.
pub fn pack_layer(codes: &Array, zero_point: &Array, p: &Arguments) -> Answer<(Array, Array)> {
    let (rows, columns) = match codes.shape[..] {
        [rows, columns] => (rows as i128, columns as i128),
        _ => return refused(format!("expected codes of rank 2, got {} [PACK-160]", codes.rank())),
    };
    let format = Format::read(p, rows, columns)?;
    let lines = format.numbers(codes, format.columns)?;
    let stored = subtract(format.numbers(zero_point, format.groups())?, format.less);
    if stored.iter().flatten().any(|&z| z < 0) {
        return refused("expected zero-points from 1 on, got 0 [PACK-160]");
    }
    let weights = match format.layout {
        Layout::Columns => matrix(Dtype::Int(32), &transposed(&format.words(&lines))),
        Layout::Rows => matrix(Dtype::Int(32), &format.words(&lines)),
        Layout::Blocks => {
            let blocks: Lines = lines.iter().flat_map(|line| format.blocks_of(line)).collect();
            let shape = [format.rows, format.groups(), format.count(format.group_size)];
            Array::integers(Dtype::Uint(8), &shape, format.words(&blocks).concat())
        }
    };
    let zeros = match format.layout {
        Layout::Columns => matrix(Dtype::Int(32), &format.words(&transposed(&stored))),
        Layout::Rows => matrix(Dtype::Int(32), &transposed(&format.words(&transposed(&stored)))),
        Layout::Blocks => matrix(Dtype::Uint(8), &format.words(&stored)),
    };
    Ok((weights, zeros))
}

/// `unpack_layer`: bits behind the last code of a line are not looked at. [PACK-150]
pub fn unpack_layer(packed: &Array, zeros: &Array, p: &Arguments) -> Answer<(Array, Array)> {
    let format = Format::read(p, p.int("n_out")?, p.int("n_in")?)?;
    let (rows, columns, groups) = (format.rows, format.columns, format.groups());
    let (along_in, along_out) = (format.count(columns), format.count(rows));
    let (codes, stored) = match format.layout {
        Layout::Columns => {
            let lines = transposed(&format.stored(packed, &[along_in, rows])?);
            let of_groups = format.stored(zeros, &[groups, along_out])?;
            (format.codes(&lines, columns), transposed(&format.codes(&of_groups, rows)))
        }
        Layout::Rows => {
            let lines = format.stored(packed, &[rows, along_in])?;
            let of_groups = transposed(&format.stored(zeros, &[along_out, groups])?);
            (format.codes(&lines, columns), transposed(&format.codes(&of_groups, rows)))
        }
        Layout::Blocks => {
            let size = format.group_size;
            let blocks = format.stored(packed, &[rows, groups, format.count(size)])?;
            let of_rows = format.stored(zeros, &[rows, format.count(groups)])?;
            let lines = format.codes(&blocks, size);
            let lines = lines.chunks(groups).map(|row| row.concat()[..columns].to_vec()).collect();
            (lines, format.codes(&of_rows, groups))
        }
    };
    let zero_point = subtract(stored, -format.less);
    if zero_point.iter().flatten().any(|&z| z >= 1 << format.bits) {
        return refused("expected zero-points that have a form, got the largest field [PACK-160]");
    }
    Ok((matrix(Dtype::Uint(8), &codes), matrix(Dtype::Uint(8), &zero_point)))
}

impl Format {
    /// [PACK-110] [PACK-160]
    fn read(p: &Arguments, rows: i128, columns: i128) -> Answer<Format> {
        let name = p.text("format")?;
        let (layout, whole, less) = match name.as_str() {
            "gptq_v1" => (Layout::Columns, false, 1),
            "gptq_v2" => (Layout::Columns, false, 0),
            "compressed_tensors" => (Layout::Rows, false, 0),
            "compressed_tensors_whole" => (Layout::Rows, true, 0),
            "matmulnbits" => (Layout::Blocks, false, 0),
            _ => return refused(format!("expected the name of a format, got {name} [PACK-160]")),
        };
        let widths: &[i128] = if layout == Layout::Blocks { &[2, 4, 8] } else { &[2, 3, 4, 8] };
        let bits = p.int("bits")?;
        if !widths.contains(&bits) {
            return refused(format!("expected bits in {widths:?}, got {bits} [PACK-160]"));
        }
        let (Ok(n_out), Ok(n_in)) = (usize::try_from(rows), usize::try_from(columns)) else {
            return refused(format!(
                "expected sizes from 1 on, got ({rows}, {columns}) [PACK-160]"
            ));
        };
        if n_out == 0 || n_in == 0 {
            return refused(format!(
                "expected sizes from 1 on, got ({rows}, {columns}) [PACK-160]"
            ));
        }
        let group_size = match p.int("group_size")? {
            -1 => n_in,
            size @ 1.. => usize::try_from(size).unwrap_or(usize::MAX),
            size => {
                return refused(format!(
                    "expected group_size -1, or from 1 on, got {size} [PACK-160]"
                ))
            }
        };
        if layout == Layout::Blocks && !(group_size.is_power_of_two() && group_size >= 16) {
            return refused(format!(
                "expected a power of two from 16 on, got {group_size} [PACK-160]"
            ));
        }
        let fills = |size: i128| size.checked_mul(bits).is_some_and(|all| all % 32 == 0);
        if layout == Layout::Columns && !(fills(rows) && fills(columns)) {
            return refused(format!(
                "expected sizes that fill words, got ({rows}, {columns}) [PACK-160]"
            ));
        }
        Ok(Format {
            layout,
            whole,
            less,
            bits: bits as usize,
            rows: n_out,
            columns: n_in,
            group_size,
        })
    }

    fn groups(&self) -> usize {
        self.columns.div_ceil(self.group_size)
    }

    fn word(&self) -> usize {
        if self.layout == Layout::Blocks {
            8
        } else {
            32
        }
    }

    /// The word in which a code begins, and its first bit there. [PACK-090]
    fn place(&self, code: usize) -> (usize, usize) {
        if self.whole {
            let per_word = self.word() / self.bits;
            return (code / per_word, code % per_word * self.bits);
        }
        let bit = code as u128 * self.bits as u128; // sizes of refused questions are huge
        ((bit / self.word() as u128) as usize, (bit % self.word() as u128) as usize)
    }

    /// The number of words of a line of codes.
    fn count(&self, codes: usize) -> usize {
        self.place(codes - 1).0 + 1 + usize::from(self.continued(codes - 1))
    }

    /// Whether a code ends in the word behind the one in which it begins.
    fn continued(&self, code: usize) -> bool {
        self.place(code).1 + self.bits > self.word()
    }

    fn words(&self, lines: &Lines) -> Lines {
        lines.iter().map(|line| self.words_of(line)).collect()
    }

    fn words_of(&self, line: &[i128]) -> Vec<i128> {
        let mut words = vec![0i128; self.count(line.len())];
        for (k, code) in line.iter().enumerate() {
            let (word, bit) = self.place(k);
            let field = code << bit;
            words[word] |= field & ((1 << self.word()) - 1);
            if self.continued(k) {
                words[word + 1] |= field >> self.word();
            }
        }
        let signed = |word: i128| if word >> 31 == 1 { word - (1 << 32) } else { word };
        words.into_iter().map(|word| if self.word() == 32 { signed(word) } else { word }).collect()
    }

    fn codes(&self, lines: &Lines, count: usize) -> Lines {
        lines.iter().map(|words| (0..count).map(|k| self.code(words, k)).collect()).collect()
    }

    fn code(&self, words: &[i128], k: usize) -> i128 {
        let (word, bit) = self.place(k);
        let here = words[word].rem_euclid(1 << self.word());
        let next = if self.continued(k) { words[word + 1] << self.word() } else { 0 };
        (here | next) >> bit & ((1 << self.bits) - 1)
    }

    /// The groups of a row, the last one filled with codes of 0. [PACK-140]
    fn blocks_of(&self, line: &[i128]) -> Lines {
        let filled = |group: &[i128]| {
            let mut block = group.to_vec();
            block.resize(self.group_size, 0);
            block
        };
        line.chunks(self.group_size).map(filled).collect()
    }

    /// Codes or zero-points as rows of numbers of b bits. [PACK-160]
    fn numbers(&self, array: &Array, width: usize) -> Answer<Lines> {
        let lines = rows_of(array, Dtype::Uint(8), &[self.rows, width])?;
        if lines.iter().flatten().any(|&code| code >= 1 << self.bits) {
            return refused(format!("expected numbers of {} bits [PACK-160]", self.bits));
        }
        Ok(lines)
    }

    fn stored(&self, array: &Array, shape: &[usize]) -> Answer<Lines> {
        let dtype = if self.word() == 8 { Dtype::Uint(8) } else { Dtype::Int(32) };
        rows_of(array, dtype, shape)
    }
}

/// An array of a dtype and shape as lines along its last axis. [PACK-160]
fn rows_of(array: &Array, dtype: Dtype, shape: &[usize]) -> Answer<Lines> {
    if array.dtype != dtype || array.shape != shape {
        let (wanted, dtype) = (dtype.name(), array.dtype.name());
        let shapes = format!("{wanted} {shape:?}, got {dtype} {:?}", array.shape);
        return refused(format!("expected {shapes} [PACK-160]"));
    }
    Ok(array.whole("words")?.chunks(shape[shape.len() - 1]).map(<[i128]>::to_vec).collect())
}

fn transposed(lines: &Lines) -> Lines {
    (0..lines[0].len()).map(|k| lines.iter().map(|line| line[k]).collect()).collect()
}

fn subtract(lines: Lines, less: i128) -> Lines {
    lines.into_iter().map(|line| line.into_iter().map(|z| z - less).collect()).collect()
}

fn matrix(dtype: Dtype, lines: &Lines) -> Array {
    Array::integers(dtype, &[lines.len(), lines[0].len()], lines.concat())
}
