//! The settings that are tried.

use crate::plan::ProbeSettings;

/// Posting lists a query token.
const N_PROBES: [usize; 11] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64];
/// Candidates are cut at these, and at more in a large collection.
const CUTS: [usize; 11] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024];
/// The last cut grows with the collection: the order of the sums is rough, and the more documents there are, the more of
/// them get in the way.
const CUTS_PER_ROOT_OF_DOCUMENTS: u64 = 32;
/// Even a large collection has no more candidates than this.
const DEEPEST: usize = 16_384;

/// Margins within which candidates are scored from their codes, rising.
pub(super) const MARGINS: [f32; 14] = [
    1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 3.75, 4.0, 4.5, 5.0, 6.0,
];

/// Every n_probe with every cut of the candidates and every margin.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Rising.
    pub(super) n_probes: Vec<usize>,
    /// Rising.
    pub(super) cuts: Vec<usize>,
}

impl Grid {
    /// For a collection with this many indexed documents and centroids.
    pub(super) fn of(documents: u64, centroids: u64) -> Self {
        let lists = usize::try_from(centroids).unwrap_or(usize::MAX).max(1);
        let mut n_probes: Vec<usize> = N_PROBES.iter().map(|n| *n.min(&lists)).collect();
        n_probes.dedup();
        let documents_fit = usize::try_from(documents).unwrap_or(usize::MAX).max(1);
        let rooted = documents.isqrt().saturating_mul(CUTS_PER_ROOT_OF_DOCUMENTS);
        let deepest = usize::try_from(rooted)
            .unwrap_or(usize::MAX)
            .clamp(CUTS[CUTS.len() - 1], DEEPEST)
            .min(documents_fit);
        let mut cuts = CUTS.to_vec();
        let mut next = 2 * CUTS[CUTS.len() - 1];
        while next < deepest {
            cuts.extend([next - next / 4, next]);
            next *= 2;
        }
        cuts.push(deepest);
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(deepest));
        cuts.sort_unstable();
        cuts.dedup();
        Self { n_probes, cuts }
    }

    /// The most candidates of any setting.
    pub(super) fn deepest(&self) -> usize {
        self.cuts.last().copied().unwrap_or(1)
    }

    /// All settings, each with the places of its n_probe, its cut and its margin.
    pub(super) fn settings(&self) -> impl Iterator<Item = ([usize; 3], ProbeSettings)> + '_ {
        let pairs = self
            .n_probes
            .iter()
            .enumerate()
            .flat_map(|n_probe| self.cuts.iter().enumerate().map(move |cut| (n_probe, cut)));
        pairs.flat_map(|((n_at, &n_probe), (cut_at, &candidates))| {
            MARGINS.into_iter().enumerate().map(move |(margin_at, margin)| {
                let settings = ProbeSettings {
                    n_probe,
                    candidates,
                    refine: candidates,
                    margin,
                };
                ([n_at, cut_at, margin_at], settings)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_is_wider_than_the_collection() {
        for (documents, centroids) in [
            (0, 0),
            (1, 1),
            (40, 5),
            (1_000, 64),
            (55_685, 32_768),
            (10_000_000, 1 << 18),
        ] {
            let grid = Grid::of(documents, centroids);
            assert!(
                grid.n_probes.is_sorted_by(|a, b| a < b) && grid.cuts.is_sorted_by(|a, b| a < b),
                "{grid:?}"
            );
            assert!(grid.deepest() as u64 <= documents.max(1), "{grid:?}");
            for ([n_at, cut_at, margin_at], settings) in grid.settings() {
                assert!(settings.n_probe as u64 <= centroids.max(1));
                assert_eq!(settings.refine, settings.candidates);
                assert_eq!(
                    (grid.n_probes[n_at], grid.cuts[cut_at], MARGINS[margin_at]),
                    (settings.n_probe, settings.candidates, settings.margin)
                );
            }
        }
        assert!(Grid::of(55_685, 32_768).deepest() > 3_000);
    }
}
