//! The bits of a residual, and of a reciprocal norm.

/// The value of a packed field: each value is written least significant bit first into a byte that fills from its most
/// significant bit, so a field read the usual way is the value with its bits reversed.
fn reversed(field: u8, bits: u8) -> u8 {
    field.reverse_bits() >> (8 - bits)
}

/// Appends values below `2^bits`, `8 / bits` of them a byte.
pub(super) fn pack(values: &[u8], bits: u8, out: &mut Vec<u8>) {
    out.extend(values.chunks_exact(usize::from(8 / bits)).map(|fields| {
        let append = |byte: u16, value: &u8| (byte << bits) | u16::from(reversed(*value, bits));
        let [low, _] = fields.iter().fold(0, append).to_le_bytes();
        low
    }));
}

/// The values of packed bytes, in order.
pub(super) fn unpack(bytes: &[u8], bits: u8) -> impl Iterator<Item = u8> + '_ {
    let mask = u8::MAX >> (8 - bits);
    let fields = 8 / bits;
    bytes.iter().flat_map(move |byte| {
        (0..fields).map(move |field| reversed(byte >> (8 - bits * (field + 1)) & mask, bits))
    })
}

/// What stands for each field as it is packed, given what stands for each value.
pub(super) fn by_field(bits: u8, of_value: impl Fn(usize) -> u8) -> Vec<u8> {
    (0..1u8 << bits)
        .map(|field| of_value(usize::from(reversed(field, bits))))
        .collect()
}

/// 2^-4, the least reciprocal norm.
const LEAST: u32 = (127 - 4) << 23;

/// A reciprocal norm in 16 bits: 8 octaves from 2^-4, each of 2^13 steps, so that it is off by at most 2^-14 of itself.
/// Beyond the octaves it is clamped.
pub(super) fn inverse_norm_code(inverse: f32) -> u16 {
    let steps = (inverse.max(0.0625).to_bits() - LEAST + 0x200) >> 10;
    u16::try_from(steps).unwrap_or(u16::MAX)
}

/// The reciprocal norm of a code.
#[inline]
pub(crate) fn inverse_norm(code: u16) -> f32 {
    f32::from_bits(LEAST + (u32::from(code) << 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bit_order_is_the_reference_s() {
        let mut out = Vec::new();
        pack(&[1, 0, 3, 2], 2, &mut out);
        pack(&[1, 8], 4, &mut out);
        pack(&[1, 0, 0, 0, 0, 0, 1, 1], 1, &mut out);
        assert_eq!(out, [0b10_00_11_01, 0b1000_0001, 0b1000_0011]);
    }

    proptest! {
        #[test]
        fn packing_round_trips(values in prop::collection::vec(0u8..16, 1..40), bits in prop::sample::select(vec![1u8, 2, 4])) {
            let values: Vec<u8> = values.iter().flat_map(|v| [v & (u8::MAX >> (8 - bits)); 8]).collect();
            let mut bytes = Vec::new();
            pack(&values, bits, &mut bytes);
            prop_assert_eq!(bytes.len(), values.len() * usize::from(bits) / 8);
            prop_assert_eq!(unpack(&bytes, bits).collect::<Vec<_>>(), values);
        }

        #[test]
        fn a_reciprocal_norm_is_off_by_a_sixteen_thousandth(inverse in 0.0625f32..15.99) {
            let back = inverse_norm(inverse_norm_code(inverse));
            prop_assert!((back - inverse).abs() <= inverse / 16384.0, "{inverse} became {back}");
        }
    }

    #[test]
    fn every_code_is_its_own_norm_s_and_what_lies_beyond_is_clamped() {
        for code in 0..=u16::MAX {
            assert_eq!(inverse_norm_code(inverse_norm(code)), code);
        }
        assert_eq!(inverse_norm_code(0.0), 0);
        assert_eq!(inverse_norm_code(f32::INFINITY), u16::MAX);
        assert_eq!(inverse_norm_code(f32::NAN), 0);
    }
}
