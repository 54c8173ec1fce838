//! What must hold, whatever the order of events.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::Arc;
use loom::thread;
use secbeat_net::link::PortId;

use crate::board::Board;
use crate::hint::HintTable;
use crate::inbox::{Handover, Parcel};
use crate::number::Number;
use crate::published::Published;

/// Two flows that share a slot of a table with one slot; the low 16 bits are no part of the tag.
const FLOW: u64 = 0x0001_0000;
const OTHER_FLOW: u64 = 0x0002_0000;

#[test]
fn a_hint_names_an_owner_that_was_set_for_this_flow_or_none() {
    loom::model(|| {
        let hints = Arc::new(HintTable::new(1));
        let (one, two) = (Arc::clone(&hints), Arc::clone(&hints));
        let first = thread::spawn(move || {
            one.set(FLOW, 1);
            one.clear(FLOW, 1);
        });
        let second = thread::spawn(move || two.set(OTHER_FLOW, 2));
        let (seen, seen_other) = (hints.owner(FLOW), hints.owner(OTHER_FLOW));
        assert!(matches!(seen, None | Some(1)), "{seen:?}");
        assert!(matches!(seen_other, None | Some(2)), "{seen_other:?}");
        first.join().unwrap();
        second.join().unwrap();
        // The first flow ended: nothing may name its worker any more, and its end took nothing of the second's,
        // unless the second's hint was overwritten before.
        assert_eq!(hints.owner(FLOW), None);
    });
}

#[test]
fn the_end_of_a_flow_does_not_clear_the_hint_that_replaced_its_own() {
    loom::model(|| {
        let hints = Arc::new(HintTable::new(1));
        hints.set(FLOW, 1);
        let other = Arc::clone(&hints);
        let worker = thread::spawn(move || other.set(OTHER_FLOW, 2));
        hints.clear(FLOW, 1);
        worker.join().unwrap();
        assert_eq!((hints.owner(OTHER_FLOW), hints.owner(FLOW)), (Some(2), None));
    });
}

/// A buffer is in one place at a time, so what one sender wrote is what the owner reads, and after everything was
/// given back all of them can be taken again.
#[test]
fn buffers_are_given_back_exactly_once_and_nothing_sent_is_lost() {
    loom::model(|| {
        const BUFFERS: usize = 2;
        let handover = Arc::new(Handover::new(2, BUFFERS, 2));
        let senders: Vec<_> = (1..=2u8)
            .map(|sender| {
                let handover = Arc::clone(&handover);
                thread::spawn(move || {
                    let sent = |part| handover.send(1, PortId(sender), &[sender, part]);
                    if sender == 1 { [sent(0), sent(1)] } else { [sent(0), false] }
                })
            })
            .collect();
        let mut received = Vec::new();
        let mut take = |handover: &Handover| {
            let parcel = handover.receive(1)?;
            let bytes: [u8; 2] = parcel.bytes().try_into().expect("two bytes");
            assert_eq!(parcel.port(), PortId(bytes[0]), "frame and port of one sender");
            received.push(bytes);
            handover.give_back(1, parcel);
            Some(())
        };
        let _ = take(&handover);
        let mut sent = Vec::new();
        for (sender, worker) in (1..=2u8).zip(senders) {
            let parts = worker.join().unwrap();
            sent.extend((0..=1u8).zip(parts).filter(|(_, sent)| *sent).map(|(part, _)| [sender, part]));
        }
        while take(&handover).is_some() {}
        let order: Vec<_> = received.iter().filter(|bytes| bytes[0] == 1).collect();
        assert!(order.is_sorted(), "frames of one sender stay in order: {order:?}");
        sent.sort_unstable();
        received.sort_unstable();
        assert_eq!(sent, received);
        // Every buffer is free again, and there is not one more.
        assert!((0..BUFFERS).all(|_| handover.send(1, PortId(0), &[0])));
        assert!(!handover.send(1, PortId(0), &[0]));
    });
}

#[test]
fn two_workers_send_to_each_other_without_waiting_for_each_other() {
    loom::model(|| {
        let handover = Arc::new(Handover::new(2, 1, 1));
        let turn = |handover: &Handover, own: u16, other: u16| {
            let sent = handover.send(other, PortId(0), &[own as u8]);
            let taken = handover.receive(own);
            let seen = taken.as_ref().map(|parcel: &Parcel| parcel.bytes()[0]);
            if let Some(parcel) = taken {
                handover.give_back(own, parcel);
            }
            (sent, seen)
        };
        let theirs = Arc::clone(&handover);
        let worker = thread::spawn(move || turn(&theirs, 1, 0));
        let ours = turn(&handover, 0, 1);
        let theirs = worker.join().unwrap();
        assert!(ours.0 && theirs.0, "each inbox had its buffer");
        assert!(matches!(ours.1, None | Some(1)) && matches!(theirs.1, None | Some(0)));
        let left = usize::from(handover.waiting(0) > 0) + usize::from(handover.waiting(1) > 0);
        let taken = usize::from(ours.1.is_some()) + usize::from(theirs.1.is_some());
        assert_eq!(left + taken, 2, "what was not taken still waits");
    });
}

#[test]
fn a_number_with_one_writer_loses_no_count_and_never_goes_back() {
    loom::model(|| {
        let number = Arc::new(Number::new());
        let reader = Arc::clone(&number);
        let worker = thread::spawn(move || {
            let (first, second) = (reader.get(), reader.get());
            assert!(first <= second && second <= 3, "{first} then {second}");
        });
        number.add(1);
        number.add(2);
        worker.join().unwrap();
        assert_eq!(number.get(), 3);
        number.set(0);
        assert_eq!(number.get(), 0);
    });
}

/// A value that knows its generation and says which thread freed it.
struct Value {
    generation: u64,
    publisher: loom::thread::ThreadId,
    freed_elsewhere: std::sync::Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        if thread::current().id() != self.publisher {
            self.freed_elsewhere.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_worker_that_sees_a_generation_gets_it_or_a_later_one_and_frees_none() {
    loom::model(|| {
        let freed_elsewhere = std::sync::Arc::new(AtomicUsize::new(0));
        let publisher = thread::current().id();
        let value = |generation| {
            let freed_elsewhere = std::sync::Arc::clone(&freed_elsewhere);
            Value { generation, publisher, freed_elsewhere }
        };
        let published = Arc::new(Published::new(value(1), 1, 1));
        let shared = Arc::clone(&published);
        let worker = thread::spawn(move || {
            let mut current = shared.load();
            shared.confirm(0, current.generation);
            for _ in 0..2 {
                let generation = shared.generation();
                if generation != current.generation {
                    let next = shared.load();
                    assert!(next.generation >= generation, "an older value than its number");
                    assert!(next.generation >= current.generation, "a worker never goes back");
                    current = next;
                    shared.confirm(0, current.generation);
                }
            }
            let last = current.generation;
            drop(current);
            last
        });
        published.publish(value(2), 2);
        let confirmed = published.adopted_by_all();
        published.publish(value(3), 3);
        let last = worker.join().unwrap();
        assert!(confirmed <= published.adopted_by_all(), "what is confirmed is never taken back");
        assert_eq!(published.adopted_by_all(), last);
        assert_eq!(freed_elsewhere.load(Ordering::Relaxed), 0, "a worker freed a value");
    });
}

/// The leader has SYNs answered in front, shuts the gate when it may, and goes back, twice; meanwhile a worker takes
/// SYNs. Whenever the worker holds a half-open connection the gate is open: its ACK is not dropped.
#[test]
fn gate_is_never_shut_while_a_worker_holds_a_half_open_connection() {
    loom::model(|| {
        let board = Arc::new(Board::new(1, 1));
        // What the program reads.
        let gate = Arc::new(loom::sync::atomic::AtomicU64::new(0));
        let (its_board, its_gate) = (Arc::clone(&board), Arc::clone(&gate));
        let worker = thread::spawn(move || {
            let mut has_half_open = false;
            for _ in 0..2 {
                // A SYN.
                has_half_open |= !its_board.is_answering(0);
                if has_half_open {
                    assert_eq!(its_gate.load(Ordering::Acquire), 0, "its ACK is dropped");
                }
                its_board.set_ready(0, 0, !has_half_open);
            }
        });
        for _ in 0..2 {
            board.set_answering(0, true);
            if board.is_gate_safe(0) {
                gate.store(1, Ordering::Release);
            }
            gate.store(0, Ordering::Release);
            board.set_answering(0, false);
        }
        worker.join().unwrap();
    });
}
