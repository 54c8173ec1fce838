//! Records on their way: taken from the queue, written, kept until they are sent.
//!
//! Owns: the size of a batch, what is done with records that are too long, telling losses. A loss is told in the first
//! record of a batch, and told again when that batch did not get through.

use std::sync::Arc;
use std::time::SystemTime;

use secbeat_config::export::{Export, ExportFormat, ExportTarget, Framing, Kind, Severity};

use super::connection::Sent;
use super::counters::{Counters, Losses, Reason};
use crate::record::{Field, Origin, Record};
use crate::{cef, json, syslog};

/// Records sent at once: some hundred KB at most, and as much may be written twice after a cut.
const BATCH_RECORDS_MAX: usize = 64;

/// One batch.
pub(super) struct Batch {
    origin: Arc<Origin>,
    records: Vec<Arc<Record>>,
    frames: Vec<Vec<u8>>,
    /// Losses of before this sink; a sink that was changed does not tell the old one's.
    told: Losses,
    /// Losses that the first frame tells, if it does.
    telling: Option<Losses>,
}

impl Batch {
    pub(super) fn new(origin: Arc<Origin>, counters: &Counters) -> Self {
        Self { origin, records: Vec::new(), frames: Vec::new(), told: counters.losses(), telling: None }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.records.len() < BATCH_RECORDS_MAX
    }

    pub(super) fn push(&mut self, record: Arc<Record>) {
        self.records.push(record);
    }

    pub(super) fn is_loss_untold(&self, counters: &Counters) -> bool {
        counters.losses() != self.told
    }

    pub(super) fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// Writes the frames. Records that are too long in any form leave the batch.
    pub(super) fn write(&mut self, export: &Export, counters: &Counters) {
        self.frames.clear();
        let mut records = core::mem::take(&mut self.records);
        records.retain(|record| {
            let frame = frame(record, &self.origin, export);
            if frame.is_none() {
                counters.lose(Reason::TooLong, 1);
            }
            frame.map(|frame| self.frames.push(frame)).is_some()
        });
        self.records = records;
        let losses = counters.losses();
        self.telling = (losses != self.told).then_some(losses);
        if self.telling.is_some()
            && let Some(frame) = frame(&loss(&self.told, &losses, &export.name), &self.origin, export)
        {
            self.frames.insert(0, frame);
        } else if self.telling.take().is_some() {
            self.told = losses;
        }
    }

    /// Takes out what was sent or lost.
    pub(super) fn settle(&mut self, sent: &Sent, counters: &Counters) {
        let first = usize::from(self.telling.is_some());
        let failed = sent.error.is_some();
        let gone = sent.done + sent.lost;
        self.records.drain(..gone.saturating_sub(first).min(self.records.len()));
        let done = sent.done.saturating_sub(first);
        counters.add_sent(done as u64);
        if let Some(losses) = self.telling.take()
            && sent.done > 0
            && !failed
        {
            self.told = losses;
        }
        counters.lose(Reason::FileFull, gone.saturating_sub(first).saturating_sub(done) as u64);
        if sent.was_refused {
            counters.lose(Reason::Refused, 1);
        }
    }
}

/// A record as it goes out; `None`: it does not fit.
fn frame(record: &Record, origin: &Origin, export: &Export) -> Option<Vec<u8>> {
    let fitting = |record: &Record| {
        let text = match export.format {
            ExportFormat::Syslog => syslog::write(record, origin, export),
            ExportFormat::Cef => cef::write(record, origin, export),
            ExportFormat::Json => json::write(record, origin),
        };
        (text.len() <= export.record_bytes_max).then_some(text)
    };
    let text = fitting(record)
        .or_else(|| fitting(&record.shortened()))
        .or_else(|| fitting(&record.without_texts_of_clients()))?;
    let mut frame = Vec::with_capacity(text.len() + 8);
    match export.target {
        ExportTarget::Udp(_) => frame.extend_from_slice(text.as_bytes()),
        ExportTarget::File(_) => syslog::frame(&mut frame, &text, Framing::Newline),
        ExportTarget::Tcp(_) | ExportTarget::Tls(_) => syslog::frame(&mut frame, &text, export.framing),
    }
    Some(frame)
}

/// The record about losses.
fn loss(told: &Losses, now: &Losses, sink: &str) -> Record {
    let more: Losses = core::array::from_fn(|index| now[index].saturating_sub(told[index]));
    let count = more.iter().sum();
    let mut record = Record::new(SystemTime::now(), Severity::Warning, Kind::Export, "records_lost");
    record.count = Some(count);
    record.set(Field::Component, "export");
    record.set(Field::Message, &format!("{count} records lost"));
    record.add_detail("sink", sink);
    for ((_, word), count) in Reason::ALL.iter().zip(more).filter(|(_, count)| *count > 0) {
        record.add_detail(word, &count.to_string());
    }
    record
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::readback::{export, origin};

    proptest! {
        /// Nothing that a client says can make a record too long to be sent.
        #[test]
        fn clients_cannot_hide_a_record_by_its_length(
            text in "[\"\\\\=|\\]\u{1}-\u{20}aä\u{ffff}]{0,1500}",
            format in prop_oneof![Just("syslog"), Just("cef"), Just("json")],
        ) {
            let export = export(&format!("format = \"{format}\"\ntarget = \"udp://192.0.2.1:514\"\nmax_record_bytes = 1024"));
            let mut record = Record::new(SystemTime::now(), Severity::Warning, Kind::Request, "request_refused");
            record.source = Some(("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(), Some(65_535)));
            for field in [Field::Method, Field::Host, Field::Target, Field::UserAgent, Field::Reason] {
                record.set(field, &text);
            }
            for (field, text) in [
                (Field::Node, "01890f3e-7f8a-7c3d-9b1e-7f3b6a5c4d2e"),
                (Field::Component, "worker-127"),
                (Field::AttackType, "cross_site_scripting"),
                (Field::Listener, "https-of-the-shop"),
                (Field::Rule, "942100"),
                (Field::Action, "blocked"),
                (Field::RequestId, "0123456789abcdef0123456789abcdef"),
            ] {
                record.set(field, text);
            }
            let frame = frame(&record, &origin(), &export).expect("it fits");
            prop_assert!(frame.len() <= 1024 && !frame.iter().any(|byte| *byte < b' '));
        }
    }
}
