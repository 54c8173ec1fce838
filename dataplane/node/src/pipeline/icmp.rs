//! ICMP errors: passed on to the side whose packet they are about.
//!
//! Owns: who is asked, and how many are looked at. Does not own: the translation (`net::splice`, `net::udp`). Only
//! errors about packets that we sent are passed on; everything else of ICMP is the kernel's and is not even
//! redirected to us.

use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::Verdict;
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;
use secbeat_net::wire::icmp::Error;

use super::{Fate, Pipeline, Seen, fate, l7};
use crate::telemetry::counters::Counter;

impl Pipeline {
    pub(super) fn judge_icmp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        if !self.icmp_cell.hit(&self.policy.limits.icmp_rate, 1, now).is_admitted() {
            return Err(DropReason::IcmpUnmatched);
        }
        let context = Self::context(&self.policy, seen.ingress);
        let mut verdict = self.splice.handle_icmp(packet, headers, &context, now);
        if verdict == Verdict::Miss {
            verdict = self.udp.handle_icmp(packet, headers, &context);
        }
        if verdict == Verdict::Miss
            && let Some(taken) = self.terminator.as_mut().and_then(|l7| l7.handle_icmp(packet, headers, now))
        {
            return l7::fate(taken);
        }
        if matches!(verdict, Verdict::Transmit(_)) {
            self.page.count(Counter::IcmpTranslated);
        }
        if let Some(fate) = fate(verdict) {
            return fate;
        }
        // The quoted packet shows whose flow it is: seen from the other side it is what would arrive here.
        let error = Error::parse(packet.bytes(), headers)?.ok_or(DropReason::IcmpUnmatched)?;
        match self.owner(&error.inner.flow.reversed(), seen.origin) {
            Some(owner) => Ok(Fate::HandOver(owner)),
            None => Err(DropReason::IcmpUnmatched),
        }
    }
}
