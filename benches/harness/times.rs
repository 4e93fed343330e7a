//! Times of single queries, condensed, and the load that they were taken under.

/// Milliseconds of single queries.
#[derive(Clone, Debug, Default)]
pub struct Times {
    sorted: Vec<f64>,
}

impl Times {
    /// From milliseconds in any order.
    #[must_use]
    pub fn new(mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        Self { sorted: milliseconds }
    }

    /// The time that a share of the queries (0 to 1) does not exceed, by nearest rank; NaN without queries.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let rank = rank.clamp(1, self.sorted.len().max(1));
        self.sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    #[must_use]
    pub fn p50(&self) -> f64 {
        self.percentile(0.5)
    }

    /// The 95th percentile.
    #[must_use]
    pub fn p95(&self) -> f64 {
        self.percentile(0.95)
    }
}

/// The median of numbers in any order; NaN of none.
#[must_use]
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    Times::new(numbers.into_iter().collect()).p50()
}

/// Milliseconds that the calling thread has run on a processor so far, where the system tells them (Linux, to a
/// scheduler's tick). Unlike wall time they leave out what other processes took.
#[must_use]
pub fn thread_cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

/// Seconds that all threads of this process have run on processors so far, where the system tells them (Linux, to a
/// hundredth).
#[must_use]
pub fn process_cpu_s() -> Option<f64> {
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold spaces; the fields after it do not.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || -> Option<f64> { fields.next()?.parse().ok() };
    Some((next()? + next()?) / TICKS)
}

/// The load averages of 1, 5 and 15 minutes, where the system tells them.
#[must_use]
pub fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    Some(averages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_takes_no_processor_time() {
        let Some(before) = thread_cpu_ms() else { return };
        std::thread::sleep(std::time::Duration::from_millis(120));
        assert!(thread_cpu_ms().is_some_and(|after| after >= before && after - before < 60.0));
    }

    #[test]
    fn the_time_of_a_process_is_that_of_its_threads() {
        let Some(before) = process_cpu_s() else { return };
        let spin = || {
            let begun = std::time::Instant::now();
            let mut own = 0.0;
            while own < 50.0 && begun.elapsed().as_secs() < 20 {
                own = thread_cpu_ms().unwrap_or(f64::NAN);
            }
        };
        std::thread::spawn(spin).join().unwrap();
        assert!(process_cpu_s().is_some_and(|after| after - before >= 0.03));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times = Times::new((1..=20).rev().map(f64::from).collect());
        assert_eq!(times.p50(), 10.0);
        assert_eq!(times.p95(), 19.0);
        assert_eq!((times.percentile(0.0), times.percentile(1.0)), (1.0, 20.0));
        assert_eq!(Times::new(vec![3.0]).p95(), 3.0);
        assert!(Times::default().p50().is_nan());
        assert_eq!(median([9.0, 1.0, 2.0]), 2.0);
    }
}
