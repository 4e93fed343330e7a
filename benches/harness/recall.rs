//! How much of the true best a search finds.

/// The mean recall of queries, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recall {
    /// The mean over queries.
    pub mean: f64,
    /// Half of the width of the 95% interval of the mean, from the spread between queries.
    pub margin: f64,
}

impl Recall {
    /// Of the share that each query found.
    #[must_use]
    pub fn of(shares: &[f64]) -> Self {
        const Z: f64 = 1.96;
        let n = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / n;
        let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Self {
            mean,
            margin: Z * (variance / n).sqrt(),
        }
    }

    /// Of what was found for each query against the first `k` of its true ranking; a query whose truth is empty is left
    /// out.
    #[must_use]
    pub fn at(k: usize, found: &[Vec<u32>], truth: &[Vec<u32>]) -> Self {
        let shares: Vec<f64> = found
            .iter()
            .zip(truth)
            .filter_map(|(found, truth)| share(k, found, truth))
            .collect();
        Self::of(&shares)
    }
}

fn share(k: usize, found: &[u32], truth: &[u32]) -> Option<f64> {
    let truth = &truth[..k.min(truth.len())];
    let shared = found.iter().take(k).filter(|id| truth.contains(id)).count();
    (!truth.is_empty()).then(|| shared as f64 / truth.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_what_is_shared_in_the_first_k() {
        let truth = vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![]];
        let found = vec![vec![2, 1, 9, 3], vec![5, 9, 6], vec![1]];
        let recall = Recall::at(2, &found, &truth);
        assert_eq!(recall.mean, 0.75);
        assert!((recall.margin - 1.96 * (0.125_f64 / 2.0).sqrt()).abs() < 1e-12);
        assert_eq!(Recall::at(4, &found, &truth).mean, (0.75 + 0.5) / 2.0);
    }

    #[test]
    fn equal_shares_leave_no_margin_and_more_queries_leave_less() {
        assert!(Recall::of(&[0.5; 7]).margin < 1e-9);
        let few = Recall::of(&[0.8, 1.0]);
        let many = Recall::of(&[0.8, 1.0, 0.8, 1.0, 0.8, 1.0, 0.8, 1.0]);
        assert!(many.margin < few.margin);
    }
}
