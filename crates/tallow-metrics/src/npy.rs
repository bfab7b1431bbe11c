//! One array of numbers as NumPy saves it: an opening, a dictionary in words, the numbers.
//!
//! ```text
//! \x93NUMPY  major minor  length of the dictionary (2 bytes in version 1, 4 in 2 and 3)
//! {'descr': '<f8', 'fortran_order': False, 'shape': (2048, 2048), }  …spaces, a line feed; the numbers
//! ```
//!
//! Source: the module `numpy.lib.format`, versions 1.0 to 3.0.

use std::io::Read;

/// The longest dictionary that is read: NumPy's take 118 bytes.
const MOST_HEADER: usize = 4096;
/// Bytes that are turned to numbers at a time.
const BLOCK: usize = 1 << 16;

/// An array, in the order of its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
    /// The spacing of numbers near 1 in the type that they were stored in.
    pub(crate) precision: f64,
}

/// What the dictionary says.
#[derive(Debug, PartialEq)]
struct Header {
    bytes: usize,
    big_endian: bool,
    columns_first: bool,
    shape: Vec<usize>,
}

/// Reads an array of `length` bytes at most, of at most `most` bytes of numbers in double precision.
///
/// Both are held against what the dictionary declares before memory is taken.
pub(crate) fn read(reader: &mut dyn Read, length: u64, most: u64) -> Result<Array, String> {
    let (header, opening) = read_header(reader)?;
    let count = header
        .shape
        .iter()
        .try_fold(1_u64, |product, side| product.checked_mul(*side as u64))
        .filter(|count| count.checked_mul(8).is_some_and(|bytes| bytes <= most))
        .ok_or_else(|| format!("its shape {:?} takes more than {most} bytes", header.shape))?;
    let declared = opening + count * header.bytes as u64;
    if declared != length {
        return Err(format!(
            "its shape {:?} makes {declared} bytes, it has {length}",
            header.shape
        ));
    }
    let values = read_numbers(reader, &header, count as usize)?;
    let values = if header.columns_first {
        transposed(&values, &header.shape)
    } else {
        values
    };
    Ok(Array {
        values,
        precision: if header.bytes == 4 {
            f64::from(f32::EPSILON)
        } else {
            f64::EPSILON
        },
        shape: header.shape,
    })
}

fn read_numbers(reader: &mut dyn Read, header: &Header, count: usize) -> Result<Vec<f64>, String> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| format!("there is no memory for {count} numbers"))?;
    let mut block = vec![0; BLOCK.min(count * header.bytes)];
    while values.len() < count {
        let part = &mut block[..BLOCK.min((count - values.len()) * header.bytes)];
        reader
            .read_exact(part)
            .map_err(|error| format!("its numbers: {error}"))?;
        values.extend(
            part.chunks_exact(header.bytes)
                .map(|bytes| number(bytes, header.big_endian)),
        );
    }
    Ok(values)
}

/// Four or eight bytes as a number.
fn number(bytes: &[u8], big_endian: bool) -> f64 {
    let mut word = [0; 8];
    let place = if big_endian { 8 - bytes.len() } else { 0 };
    word[place..place + bytes.len()].copy_from_slice(bytes);
    let bits = if big_endian {
        u64::from_be_bytes(word)
    } else {
        u64::from_le_bytes(word)
    };
    if bytes.len() == 4 {
        f64::from(f32::from_bits(bits as u32))
    } else {
        f64::from_bits(bits)
    }
}

/// Numbers whose first index runs fastest, in the order of rows.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let &[rows, columns] = shape else {
        return values.to_vec();
    };
    let at = |index: usize| values[index % columns * rows + index / columns];
    (0..values.len()).map(at).collect()
}

/// The dictionary, and how many bytes it and the opening take.
fn read_header(reader: &mut dyn Read) -> Result<(Header, u64), String> {
    let mut opening = [0; 8];
    let mut fill = |bytes: &mut [u8]| {
        reader
            .read_exact(bytes)
            .map_err(|error| format!("its header: {error}"))
    };
    fill(&mut opening)?;
    let [magic @ .., major, _] = opening;
    if magic != *b"\x93NUMPY" {
        return Err("it does not begin as an array of NumPy".to_owned());
    }
    let mut length = [0; 4];
    let width = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return Err(format!("it has version {major}, allowed are 1 to 3")),
    };
    fill(&mut length[..width])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_HEADER {
        return Err(format!(
            "its header takes {length} bytes, allowed are {MOST_HEADER}"
        ));
    }
    let mut text = vec![0; length];
    fill(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| "its header is no text".to_owned())?;
    Ok((parse(&text)?, (8 + width + length) as u64))
}

/// Reads the dictionary, a literal of Python with three keys in any order.
fn parse(text: &str) -> Result<Header, String> {
    let refuse = || format!("its header is {text:?}, expected are descr, fortran_order and shape");
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inner.ok_or_else(refuse)?.trim();
    let (mut descr, mut order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or_else(refuse)?;
        let after = after
            .trim_start()
            .strip_prefix(':')
            .ok_or_else(refuse)?
            .trim_start();
        let end = if after.starts_with('(') {
            after.find(')').map(|end| end + 1)
        } else {
            Some(after.find(',').unwrap_or(after.len()))
        };
        let (value, after) = after.split_at(end.ok_or_else(refuse)?);
        let known = match key {
            "descr" => descr.replace(value.trim()).is_none(),
            "fortran_order" => order.replace(value.trim()).is_none(),
            "shape" => shape.replace(value.trim()).is_none(),
            _ => false,
        };
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if !known || (rest.len() == after.len() && !rest.is_empty()) {
            return Err(refuse());
        }
    }
    let (descr, order, shape) = descr
        .zip(order)
        .zip(shape)
        .map(|((a, b), c)| (a, b, c))
        .ok_or_else(refuse)?;
    let (bytes, big_endian) = match descr.trim_matches(['\'', '"']) {
        "<f8" => (8, false),
        "<f4" => (4, false),
        ">f8" => (8, true),
        ">f4" => (4, true),
        _ => {
            return Err(format!(
                "it holds {descr}, allowed are '<f8', '<f4', '>f8' and '>f4'"
            ));
        }
    };
    let columns_first = match order {
        "True" => true,
        "False" => false,
        _ => return Err(refuse()),
    };
    Ok(Header {
        bytes,
        big_endian,
        columns_first,
        shape: sides(shape).ok_or_else(refuse)?,
    })
}

/// The text between two quotes of one kind, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// A tuple of at most two lengths.
fn sides(text: &str) -> Option<Vec<usize>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let sides: Option<Vec<usize>> = inner.split(',').map(|side| side.trim().parse().ok()).collect();
    sides.filter(|sides| sides.len() <= 2)
}

/// The bytes of an array in double precision, row by row, as NumPy writes them.
pub(crate) fn write(shape: &[usize], values: &[f64]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let sides = if shape.len() > 1 {
        sides.trim_end_matches(", ")
    } else {
        sides.trim_end()
    };
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({sides}), }}");
    // The numbers begin at a multiple of 64 bytes, behind a line feed.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', length - 1 - header.len()));
    header.push('\n');
    let mut bytes = Vec::with_capacity(10 + length + 8 * values.len());
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(header: &str, numbers: &[u8]) -> Result<Array, String> {
        let opening = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()].concat();
        let bytes = [&opening, header.as_bytes(), numbers].concat();
        read(&mut &bytes[..], bytes.len() as u64, 1 << 10)
    }

    #[test]
    fn either_order_and_either_end_first_give_the_same_numbers() {
        let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32];
        let columns = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0_f32];
        let little = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let big: Vec<u8> = rows.iter().flat_map(|x| f64::from(*x).to_be_bytes()).collect();
        let plain = array(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n",
            &little(&rows),
        )
        .unwrap();
        assert_eq!(
            (plain.shape.as_slice(), plain.precision),
            (&[2, 3][..], f64::from(f32::EPSILON))
        );
        assert_eq!(plain.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let fortran = array(
            "{'shape':(2,3),'descr':'<f4','fortran_order':True}",
            &little(&columns),
        );
        assert_eq!(fortran.unwrap(), plain);
        let turned = array(
            r#"{"descr": ">f8", "fortran_order": False, "shape": (2, 3)}"#,
            &big,
        )
        .unwrap();
        assert_eq!((turned.values, turned.precision), (plain.values, f64::EPSILON));
    }

    #[test]
    fn what_is_written_is_read_again_and_begins_at_a_multiple_of_64() {
        for shape in [&[][..], &[3], &[2, 4]] {
            let values: Vec<f64> = (0..shape.iter().product())
                .map(|k: usize| 0.1 + k as f64)
                .collect();
            let bytes = write(shape, &values);
            assert_eq!((bytes.len() - 8 * values.len()) % 64, 0);
            let again = read(&mut &bytes[..], bytes.len() as u64, 1 << 10).unwrap();
            assert_eq!((again.shape.as_slice(), again.values), (shape, values));
        }
    }

    #[test]
    fn what_is_no_array_is_refused_in_words() {
        let refused = |header: &str, numbers: &[u8]| array(header, numbers).unwrap_err();
        let eight = [0; 8];
        assert!(refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &eight).contains("'|O'"));
        assert!(
            refused("{'descr': '<f8', 'fortran_order': 1, 'shape': (1,), }", &eight).contains("expected are")
        );
        assert!(refused("{'descr': '<f8', 'fortran_order': False, }", &eight).contains("expected are"));
        assert!(
            refused(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
                &eight
            )
            .contains("makes")
        );
        let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }";
        assert!(refused(huge, &eight).contains("more than 1024 bytes"));
        assert!(
            refused(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1), }",
                &eight
            )
            .contains("expected")
        );
        assert!(refused("{'descr': '<f8' 'fortran_order': False, 'shape': (1,), }", &eight).contains("<f8"));
        assert!(
            read(&mut &b"\x93NUMPX\x01\x00"[..], 8, 8)
                .unwrap_err()
                .contains("does not begin")
        );
    }
}
