//! The same segments to Linux and to us: our answers are those that were recorded from a kernel.
//!
//! The record and how to read it: `dataplane/net/tests/data/linux_tcp_answers.txt`, `scripts/record_tcp_answers.py`.
//! Not compared: windows, PSH, and how often something unacknowledged is sent again within the 300 ms of a step.

use super::harness::*;
use crate::wire::checksum::L4Checksum;
use crate::wire::tcp::Flags;

const RECORD: &str = include_str!("../../../tests/data/linux_tcp_answers.txt");

const FLAGS: [(char, Flags); 5] =
    [('F', Flags::FIN), ('S', Flags::SYN), ('R', Flags::RST), ('.', Flags::ACK), ('U', Flags::URG)];

/// What we answer differently, and why: probe, number of the step in it, our answers.
const DIFFERENCES: &[(&str, usize, &[&str], &str)] = &[
    (
        "exact_reset",
        2,
        &[],
        "a segment to no connection is missed here; the pipeline asks whether it holds a cookie",
    ),
    ("old_timestamp_on_reset", 3, &[], "as above"),
];

struct Player {
    world: World,
    clock: u32,
    sent_before: Vec<String>,
}

impl Player {
    fn new() -> Self {
        let world = World::new(Setup { timestamps: true, quick_acks: true, ..Setup::default() });
        let mut player = Self { world, clock: CLIENT_CLOCK, sent_before: Vec::new() };
        player.send("> . 1 1 0");
        player
    }

    fn send(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let number = |word: &str| word.parse::<i64>().unwrap() as u32;
        let mut flags = Flags::NONE;
        for (letter, flag) in FLAGS {
            if words[0].contains(letter) {
                flags = flags | flag;
            }
        }
        if words[0].contains('P') {
            flags = flags | Flags::PSH;
        }
        let mut segment = seg(flags, number(words[1]), number(words[2]));
        segment.data = vec![b'd'; number(words[3]) as usize];
        self.clock += 10;
        let mut clock = Some(self.clock);
        for word in &words[4..] {
            if *word == "nots" {
                clock = None;
            } else if let Some(offset) = word.strip_prefix("ts=") {
                clock = Some(self.clock.wrapping_add(number(offset)));
            }
        }
        if let Some(clock) = clock {
            segment = segment.ts(clock, OUR_CLOCK);
        }
        self.world.checksum =
            if words.contains(&"sum=bad") { L4Checksum::Invalid } else { L4Checksum::Valid };
        match self.world.send(segment) {
            Out::Answer(answer) => self.answers(vec![answer]),
            _ => self.answers(Vec::new()),
        }
    }

    fn order(&mut self, line: &str) -> Vec<String> {
        let (world, words) = (&mut self.world, line.split(' ').skip(1).collect::<Vec<_>>());
        match words[0] {
            "send" => assert_eq!(world.stack.send(world.id, &[b'x'; 100], world.now), 100),
            "shutdown" => world.stack.finish(world.id, world.now),
            "close" => world.stack.close(world.id, world.now),
            other => panic!("unknown order {other}"),
        }
        self.answers(Vec::new())
    }

    /// What arrives within 300 ms, as the record writes it.
    fn answers(&mut self, mut answers: Vec<Tcp>) -> Vec<String> {
        for _ in 0..30 {
            answers.extend(self.world.drain());
            self.world.pass_ms(10);
        }
        answers.extend(self.world.drain());
        let lines = answers.iter().map(describe).collect();
        self.without_repeats(lines)
    }

    /// What was sent again is left out: when that happens is not compared here.
    fn without_repeats(&mut self, lines: Vec<String>) -> Vec<String> {
        let mut kept = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            // An acknowledgement that moved does not make it another segment.
            let same = format!("{} {} {}", words[1], words[2], words[4]);
            let has_number = words[1].contains('F') || words[4] != "0";
            if has_number && self.sent_before.contains(&same) {
                continue;
            }
            self.sent_before.push(same);
            kept.push(line);
        }
        kept
    }
}

fn describe(tcp: &Tcp) -> String {
    let letters: String =
        FLAGS.iter().filter(|(_, flag)| tcp.has(*flag)).map(|(letter, _)| *letter).collect();
    let ack = if tcp.has(Flags::ACK) { tcp.ack } else { 0 };
    let mut line = format!("< {letters} {} {ack} {}", tcp.seq, tcp.data.len());
    if tcp.timestamps.is_some() {
        line += " ts";
    }
    if !tcp.sack.is_empty() {
        let blocks: Vec<String> = tcp.sack.iter().map(|(left, right)| format!("{left}-{right}")).collect();
        line += &format!(" sack={}", blocks.join(","));
    }
    line
}

/// One connection of the record.
struct Probe {
    name: &'static str,
    /// What was done, and the kernel's answers.
    steps: Vec<(&'static str, Vec<String>)>,
}

fn probes() -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for line in RECORD.lines() {
        if let Some(name) = line.strip_prefix("probe ") {
            probes.push(Probe { name, steps: Vec::new() });
        } else if line.starts_with('>') || line.starts_with('!') {
            probes.last_mut().unwrap().steps.push((line, Vec::new()));
        } else if line.starts_with('<') {
            probes.last_mut().unwrap().steps.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    probes
}

#[test]
fn answers_are_those_of_linux() {
    let probes = probes();
    assert!(probes.len() > 40, "{}", probes.len());
    let mut wrong = Vec::new();
    for Probe { name, steps } in probes {
        let mut player = Player::new();
        // The kernel's repeats are left out by the same rule.
        let mut kernel = Player::new();
        for (index, (step, recorded)) in steps.into_iter().enumerate() {
            let ours = if step.starts_with('>') { player.send(step) } else { player.order(step) };
            let recorded = kernel.without_repeats(recorded);
            let difference =
                DIFFERENCES.iter().find(|(probe, step, ..)| (*probe, *step) == (name, index + 1));
            let expected = difference
                .map_or(recorded, |(_, _, ours, _)| ours.iter().map(|line| (*line).to_owned()).collect());
            if ours != expected {
                wrong.push(format!("{name}: {step}\n   ours     {ours:?}\n   expected {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
