//! A look into an ONNX file without a runtime: which operators its nodes use.

/// Length-delimited fields of a protobuf message, as (field number, bytes); other fields are stepped over.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = varint(&mut self.0)?;
            match key & 7 {
                0 => drop(varint(&mut self.0)?),
                1 => self.0 = self.0.get(8..)?,
                5 => self.0 = self.0.get(4..)?,
                2 => {
                    let length = usize::try_from(varint(&mut self.0)?).ok()?;
                    let (field, rest) = self.0.split_at_checked(length)?;
                    self.0 = rest;
                    return Some((key >> 3, field));
                }
                _ => return None,
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether the graph quantizes its activations while it runs (DynamicQuantizeLinear and the fused operators named after
/// it): the scale is taken over the whole input, so a text's vectors depend on what it is batched with.
pub(crate) fn is_dynamically_quantized(model: &[u8]) -> bool {
    const GRAPH: u64 = 7; // ModelProto.graph
    const NODE: u64 = 1; // GraphProto.node
    const MARK: &[u8] = b"DynamicQuantize";
    Fields(model)
        .filter(|(field, _)| *field == GRAPH)
        .flat_map(|(_, graph)| Fields(graph).filter(|(field, _)| *field == NODE))
        .any(|(_, node)| node.windows(MARK.len()).any(|w| w == MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    }

    fn model(operator: &str) -> Vec<u8> {
        let node = field(4, operator.as_bytes());
        let initializer = field(5, b"DynamicQuantizeLinear is only a name here");
        let mut model = vec![8, 9]; // ir_version = 9, a varint before the graph
        model.extend(field(7, &[field(1, &node), initializer].concat()));
        model
    }

    #[test]
    fn a_dynamic_operator_is_found_and_other_mentions_are_not() {
        assert!(is_dynamically_quantized(&model("DynamicQuantizeLinear")));
        assert!(is_dynamically_quantized(&model("DynamicQuantizeMatMul")));
        assert!(!is_dynamically_quantized(&model("DequantizeLinear")));
    }

    #[test]
    fn bytes_that_are_no_graph_give_no() {
        for bytes in [
            &b""[..],
            &[0xff; 40],
            b"not a graph at all",
            &[0x3a, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert!(!is_dynamically_quantized(bytes));
        }
    }
}
