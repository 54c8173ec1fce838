//! What the node counts, read from its Prometheus page.

use std::collections::BTreeMap;

/// Drops of the workers, by `reason`.
const WORKER_DROPS: &str = "secbeat_drops_total";
/// What the XDP program did, by `reason`.
const XDP_PACKETS: &str = "secbeat_xdp_packets_total";

/// One reading of all counters: full name with labels, and value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the text format; lines that are none of it are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| {
                    let (name, value) = line.rsplit_once(' ')?;
                    Some((name.trim().to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// Values of a metric by one of its labels, summed over the others.
    pub(crate) fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for (labels, value) in self.series(name) {
            let found = labels.split(',').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                (key.trim() == label).then(|| value.trim_matches('"').to_owned())
            });
            if let Some(found) = found {
                *values.entry(found).or_insert(0.0) += value;
            }
        }
        values
    }

    /// Packets that workers dropped, all reasons together.
    pub(crate) fn worker_drops(&self) -> f64 {
        self.sum(WORKER_DROPS)
    }

    /// Packets that the XDP program dropped because their source is on the blocklist.
    pub(crate) fn blocklisted(&self) -> f64 {
        self.by_label(XDP_PACKETS, "reason").get("drop_blocklist").copied().unwrap_or(0.0)
    }

    /// Connections that proved their address with a cookie.
    pub(crate) fn cookies_valid(&self) -> f64 {
        self.sum("secbeat_syn_cookies_valid_total")
    }

    /// HTTP requests that were answered, whatever the status.
    pub(crate) fn requests(&self) -> f64 {
        self.sum("secbeat_requests_total")
    }

    /// Those answered with 429.
    pub(crate) fn refused_requests(&self) -> f64 {
        self.by_label("secbeat_requests_total", "status").get("429").copied().unwrap_or(0.0)
    }

    /// Connections of clients.
    pub(crate) fn connections_active(&self) -> f64 {
        self.sum("secbeat_connections_active")
    }

    /// Drops by reason, those of the workers and those of the XDP program (`drop_...`).
    pub(crate) fn drops_by_reason(&self) -> BTreeMap<String, f64> {
        let mut drops = self.by_label(WORKER_DROPS, "reason");
        let early = self.by_label(XDP_PACKETS, "reason").into_iter();
        drops.extend(early.filter(|(reason, _)| reason.starts_with("drop_")));
        drops
    }

    /// Labels (without braces) and value of each series of a metric.
    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(key, &value)| {
            let labels = key.strip_prefix(name)?;
            match labels.strip_prefix('{') {
                Some(labels) => Some((labels.trim_end_matches('}'), value)),
                None => labels.is_empty().then_some(("", value)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_over_workers_and_kept_apart_by_label() {
        let metrics = Metrics::parse(
            "# HELP drops x\n# TYPE drops counter\ndrops{reason=\"syn_rate\",worker=\"0\"} 3\n\
             drops{reason=\"syn_rate\",worker=\"1\"} 4\ndrops{reason=\"no_flow\",worker=\"0\"} 1e3\ndrops_other 9\nup 1\n",
        );
        assert_eq!(metrics.sum("drops"), 1007.0);
        assert_eq!(metrics.by_label("drops", "reason")["syn_rate"], 7.0);
        assert_eq!(metrics.sum("up"), 1.0);
        assert_eq!(metrics.sum("absent"), 0.0);
    }
}
