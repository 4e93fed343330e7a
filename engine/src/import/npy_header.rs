//! The header of a `.npy` file: a Python dictionary in a fixed frame
//! (numpy/lib/format.py, versions 1.0, 2.0 and 3.0).

use std::io::Read;

/// The numbers that a `.npy` file holds, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NpyType {
    /// `<f2`
    F16,
    /// `<f4`
    F32,
    /// `<i4`
    I32,
    /// `<i8`
    I64,
    /// `|u1`
    U8,
    /// `<u4`
    U32,
    /// `<u8`
    U64,
}

impl NpyType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether it is a float.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32)
    }

    fn from_descr(descr: &str) -> Option<Self> {
        match descr {
            "<f2" => Some(Self::F16),
            "<f4" => Some(Self::F32),
            "<i4" => Some(Self::I32),
            "<i8" => Some(Self::I64),
            "|u1" | "<u1" => Some(Self::U8),
            "<u4" => Some(Self::U32),
            "<u8" => Some(Self::U64),
            _ => None,
        }
    }
}

/// What the header of a `.npy` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    /// The type of the numbers.
    pub dtype: NpyType,
    /// The length of each axis, in C order.
    pub shape: Vec<u64>,
    /// Where the numbers begin in the file.
    pub data_offset: u64,
}

/// Expected and got, without the path, which the caller knows.
pub(crate) type HeaderError = (String, String);

impl NpyHeader {
    /// Reads a header and leaves `input` at the first number.
    pub(crate) fn read(input: &mut impl Read) -> Result<Self, HeaderError> {
        const LONGEST: u32 = 1 << 20;
        let mut preamble = [0_u8; 8];
        input
            .read_exact(&mut preamble)
            .map_err(|_| wrong("a .npy file", "fewer than 8 bytes"))?;
        let [magic @ .., major, _minor] = preamble;
        if &magic != b"\x93NUMPY" {
            return Err(wrong(
                "a .npy file (beginning with \\x93NUMPY)",
                "another beginning",
            ));
        }
        let (length, frame) = match major {
            1 => (u32::from(u16::from_le_bytes(read_array(input)?)), 10),
            2 | 3 => (u32::from_le_bytes(read_array(input)?), 12),
            _ => return Err(wrong(".npy version 1, 2 or 3", format!("version {major}"))),
        };
        if length > LONGEST {
            return Err(wrong("a header of at most 1 MiB", format!("{length} bytes")));
        }
        let mut text = Vec::new();
        let read = input.take(u64::from(length)).read_to_end(&mut text).unwrap_or(0);
        if u32::try_from(read) != Ok(length) {
            return Err(wrong(
                format!("a header of {length} bytes"),
                format!("{read} bytes"),
            ));
        }
        let (dtype, shape) = parse_dictionary(&String::from_utf8_lossy(&text))?;
        Ok(Self {
            dtype,
            shape,
            data_offset: frame + u64::from(length),
        })
    }

    /// How many numbers the array has, or none if the product does not fit.
    pub fn count(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1_u64, |product, &axis| product.checked_mul(axis))
    }
}

fn wrong(expected: impl Into<String>, got: impl Into<String>) -> HeaderError {
    (expected.into(), got.into())
}

fn read_array<const N: usize>(input: &mut impl Read) -> Result<[u8; N], HeaderError> {
    let mut bytes = [0; N];
    input
        .read_exact(&mut bytes)
        .map_err(|_| wrong("a whole .npy header", "the end of the file"))?;
    Ok(bytes)
}

fn parse_dictionary(text: &str) -> Result<(NpyType, Vec<u64>), HeaderError> {
    let mut parser = Parser {
        rest: text.trim_end_matches(['\n', ' ', '\0']),
    };
    let malformed = || {
        wrong(
            "a header {'descr': ..., 'fortran_order': ..., 'shape': ...}",
            super::error::shorten(text),
        )
    };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    parser.expect('{').ok_or_else(malformed)?;
    while !parser.eat('}') {
        let key = parser.string().ok_or_else(malformed)?;
        parser.expect(':').ok_or_else(malformed)?;
        match key.as_str() {
            "descr" if parser.peek() == Some('[') => {
                return Err(wrong("plain numbers", "a structured dtype"));
            }
            "descr" => descr = Some(parser.string().ok_or_else(malformed)?),
            "fortran_order" => fortran = Some(parser.boolean().ok_or_else(malformed)?),
            "shape" => shape = Some(parser.tuple().ok_or_else(malformed)?),
            _ => return Err(malformed()),
        }
        if !parser.eat(',') && parser.peek() != Some('}') {
            return Err(malformed());
        }
    }
    let (descr, fortran, shape) = (
        descr.ok_or_else(malformed)?,
        fortran.ok_or_else(malformed)?,
        shape.ok_or_else(malformed)?,
    );
    if fortran {
        return Err(wrong("C order (fortran_order False)", "Fortran order"));
    }
    let dtype = NpyType::from_descr(&descr).ok_or_else(|| {
        wrong(
            "float16, float32, int32, int64, uint32 or uint64, little-endian",
            format!("dtype {descr}"),
        )
    })?;
    Ok((dtype, shape))
}

/// The few Python literals that numpy writes into a header.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.rest = self.rest.get(wanted.len_utf8()..).unwrap_or("");
        }
        there
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.eat(wanted).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.peek().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = self.rest.get(1..)?.split_once(quote)?;
        let text = text.to_owned();
        self.rest = rest;
        Some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.peek()?;
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(value);
            }
        }
        None
    }

    /// `()`, `(3,)`, `(3, 4)`, and Python 2's `(3L, 4L)`.
    fn tuple(&mut self) -> Option<Vec<u64>> {
        self.expect('(')?;
        let mut numbers = Vec::new();
        while !self.eat(')') {
            self.peek()?;
            let end = self.rest.find(|c: char| !c.is_ascii_digit())?;
            numbers.push(self.rest.get(..end)?.parse().ok()?);
            self.rest = self.rest.get(end..)?;
            self.eat('L');
            if !self.eat(',') && self.peek() != Some(')') {
                return None;
            }
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(major: u8, dictionary: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([major, 0]);
        if major == 1 {
            bytes.extend(u16::try_from(dictionary.len()).unwrap().to_le_bytes());
        } else {
            bytes.extend(u32::try_from(dictionary.len()).unwrap().to_le_bytes());
        }
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    fn read(major: u8, dictionary: &str) -> Result<NpyHeader, HeaderError> {
        NpyHeader::read(&mut file(major, dictionary).as_slice())
    }

    #[test]
    fn reads_what_numpy_writes() {
        let plain = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }          \n";
        let header = read(1, plain).unwrap();
        assert_eq!(header.dtype, NpyType::F16);
        assert_eq!(header.shape, [3, 4]);
        assert_eq!(header.data_offset, 10 + u64::try_from(plain.len()).unwrap());
        for major in [2, 3] {
            assert_eq!(
                read(major, plain).unwrap().data_offset,
                12 + u64::try_from(plain.len()).unwrap()
            );
        }
        let one = read(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }\n").unwrap();
        assert_eq!((one.dtype, one.shape), (NpyType::I64, vec![7]));
        let python2 = read(
            1,
            "{\"shape\": (3L, 4L, 5L), 'fortran_order': False, 'descr': '<f4'}",
        )
        .unwrap();
        assert_eq!(python2.shape, [3, 4, 5]);
        let scalar = read(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }").unwrap();
        assert_eq!(scalar.count(), Some(1));
    }

    #[test]
    fn refuses_with_what_came() {
        let refused = |dictionary: &str| read(1, dictionary).unwrap_err().1;
        assert_eq!(
            refused("{'descr': '<f2', 'fortran_order': True, 'shape': (3, 4), }"),
            "Fortran order"
        );
        assert_eq!(
            refused("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4), }"),
            "dtype >f4"
        );
        assert_eq!(
            refused("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }"),
            "dtype <f8"
        );
        assert_eq!(
            refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }"),
            "a structured dtype"
        );
        assert_eq!(read(9, "{}").unwrap_err().1, "version 9");
        assert!(NpyHeader::read(&mut b"PK\x03\x04aaaaaaaa".as_slice()).is_err());
        assert!(NpyHeader::read(&mut file(1, "{'descr': '<f4'")[..20].as_ref()).is_err());
        for broken in [
            "",
            "{",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
        ] {
            assert!(read(1, broken).is_err(), "{broken}");
        }
    }
}
