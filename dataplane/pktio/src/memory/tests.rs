use super::*;

fn config() -> MemoryConfig {
    MemoryConfig { ports: 2, frames: 8, queue_frames: 4, ..MemoryConfig::default() }
}

#[test]
fn an_injected_frame_is_received_and_what_is_transmitted_is_taken() {
    let (mut io, peer) = MemoryIo::new(&config());
    assert!(peer.inject(1, b"hello frame"));
    let mut burst = Burst::new();
    assert_eq!(io.receive(0, &mut burst), 0);
    assert_eq!(io.receive(1, &mut burst), 1);
    let mut frame = burst.pop().unwrap();
    assert_eq!(io.bytes(&frame), b"hello frame");
    let (start, len) = (frame.start(), frame.len());
    io.chunk_mut(&mut frame)[start - 2..start].copy_from_slice(b">>");
    frame.set_bounds(start - 2, len + 2);
    io.transmit(0, frame).unwrap();
    assert_eq!(peer.take(0), None, "nothing leaves before the flush");
    io.flush();
    assert_eq!(peer.take(0).unwrap(), b">>hello frame");
    assert_eq!(io.frames_held(), 0);
    assert_eq!(io.counters(), MemoryCounters { transmitted: 1, transmit_lost: 0, received: 1 });
}

#[test]
fn a_pair_carries_frames_both_ways() {
    let (mut a, mut b) = MemoryIo::pair(&config());
    for (from, to) in [(true, b"abc"), (false, b"xyz")] {
        let (sender, receiver) = if from { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let mut frame = sender.allocate().unwrap();
        let start = frame.start();
        sender.chunk_mut(&mut frame)[start..start + 3].copy_from_slice(to);
        frame.set_bounds(start, 3);
        sender.transmit(1, frame).unwrap();
        sender.flush();
        let mut burst = Burst::new();
        assert_eq!(receiver.receive(1, &mut burst), 1);
        let frame = burst.pop().unwrap();
        assert_eq!(receiver.bytes(&frame), to);
        receiver.release(frame);
    }
    assert_eq!((a.frames_held(), b.frames_held()), (0, 0));
}

#[test]
fn a_full_wire_loses_the_frame_and_counts_it() {
    let (mut io, peer) = MemoryIo::new(&config());
    for i in 0..5 {
        assert_eq!(peer.inject(0, &[i]), i < 4);
    }
    for round in 0..2 {
        for _ in 0..4 {
            let mut frame = io.allocate().unwrap();
            frame.set_bounds(frame.start(), 60);
            io.transmit(0, frame).unwrap();
        }
        let mut frame = io.allocate().unwrap();
        frame.set_bounds(frame.start(), 60);
        let frame = io.transmit(0, frame).expect_err("the queue holds four");
        io.release(frame);
        io.flush();
        assert_eq!(io.counters().transmit_lost, round * 4);
    }
    assert_eq!(io.frames_held(), 0);
}

#[test]
fn bounds_outside_the_chunk_are_refused() {
    let (mut io, _peer) = MemoryIo::new(&config());
    let mut frame = io.allocate().unwrap();
    for (start, len) in [(2000, 49), (0, 2049), (usize::MAX, 1), (100, 0)] {
        frame.set_bounds(start, len);
        assert_eq!(io.bytes(&frame), b"");
        frame = io.transmit(0, frame).expect_err("outside");
    }
    frame.set_bounds(0, 2048);
    assert!(io.transmit(2, frame).is_err(), "no such port");
}

#[test]
fn all_chunks_in_use_stops_receiving_without_loss() {
    let (mut io, peer) = MemoryIo::new(&MemoryConfig { frames: 2, ..config() });
    for i in 0..3 {
        assert!(peer.inject(0, &[i]));
    }
    let mut burst = Burst::new();
    assert_eq!(io.receive(0, &mut burst), 2);
    assert!(io.allocate().is_none());
    io.release(burst.remove(0));
    assert_eq!(io.receive(0, &mut burst), 1);
    assert_eq!(io.bytes(&burst[1]), [2]);
}
