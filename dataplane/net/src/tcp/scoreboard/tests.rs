//! The scoreboard beside a plain list.

use proptest::prelude::*;

use super::*;

const LEN: u16 = 1_000;

/// A record as the model knows it: first number, length, standing, when it was sent last.
type Plain = (u32, u16, Standing, u32);

struct Pair {
    pool: RecordPool,
    board: Scoreboard,
    model: Vec<Plain>,
    next: u32,
    now_us: u32,
}

impl Pair {
    fn new(count_max: u32) -> Self {
        let first = 0u32.wrapping_sub(5_500);
        Self {
            pool: RecordPool::new(count_max),
            board: Scoreboard::EMPTY,
            model: Vec::new(),
            next: first,
            now_us: 7,
        }
    }

    fn push(&mut self) -> bool {
        let is_pushed = self.board.push(&mut self.pool, self.next, LEN, self.now_us, Stamp::default());
        if is_pushed {
            self.model.push((self.next, LEN, Standing::InFlight, self.now_us));
            self.next = self.next.wrapping_add(u32::from(LEN));
        }
        is_pushed
    }

    fn index_of(&self, place: usize) -> u32 {
        (0..place).fold(self.board.head(), |index, _| Scoreboard::next(&self.pool, index))
    }

    fn listed(&self) -> Vec<Plain> {
        let mut listed = Vec::new();
        let mut index = self.board.head();
        while let Some(record) = self.pool.get(index) {
            listed.push((record.seq, record.len, record.standing, record.sent_us));
            index = record.next;
        }
        listed
    }

    fn compare(&mut self) {
        let sums = self.board.sums(&self.pool).expect("the lists hold together");
        assert_eq!(self.listed(), self.model);
        let of = |standing| {
            let records = self.model.iter().filter(|record| record.2 == standing);
            records.map(|record| u32::from(record.1)).sum::<u32>()
        };
        let (sacked, lost) = (of(Standing::Sacked), of(Standing::Lost));
        assert_eq!((sums.sacked, sums.lost), (sacked, lost));
        assert_eq!((self.board.sacked(), self.board.lost()), (sacked, lost));
        assert_eq!(usize::from(self.board.count()), self.model.len());
        let first_lost = self.board.first_lost(&self.pool).and_then(|index| self.pool.get(index));
        let expected = self.model.iter().find(|record| record.2 == Standing::Lost);
        assert_eq!(first_lost.map(|record| record.seq), expected.map(|record| record.0));
        assert_eq!(self.pool.used(), self.model.len());
    }

    fn act(&mut self, action: usize, place: usize) {
        let place = place % self.model.len().max(1);
        let index = self.index_of(place);
        match action {
            0..=2 => {
                self.push();
            }
            3 => {
                let popped = self.board.pop(&mut self.pool).map(|record| record.seq);
                assert_eq!(popped, self.model.first().map(|record| record.0));
                if !self.model.is_empty() {
                    self.model.remove(0);
                }
            }
            4 => {
                self.board.forgive(&mut self.pool);
                for record in self.model.iter_mut().filter(|record| record.2 == Standing::Lost) {
                    record.2 = Standing::InFlight;
                }
            }
            5 if self.model.first().is_some_and(|record| record.1 > 100) => {
                self.board.trim_head(&mut self.pool, 100);
                self.model[0].0 = self.model[0].0.wrapping_add(100);
                self.model[0].1 -= 100;
            }
            _ if self.model.is_empty() => {}
            6 => {
                self.board.mark_sacked(&mut self.pool, index);
                self.model[place].2 = Standing::Sacked;
            }
            7 => {
                self.board.mark_lost(&mut self.pool, index);
                self.model[place].2 = Standing::Lost;
            }
            8 => {
                self.board.mark_sent(&mut self.pool, index, self.now_us, Stamp::default());
                (self.model[place].2, self.model[place].3) = (Standing::InFlight, self.now_us);
            }
            _ => {
                if self.board.split(&mut self.pool, index, 300) {
                    let whole = self.model[place];
                    self.model[place].1 = 300;
                    let rest = (whole.0.wrapping_add(300), whole.1 - 300, whole.2, whole.3);
                    self.model.insert(place + 1, rest);
                }
            }
        }
        self.now_us += 1;
    }
}

proptest! {
    #[test]
    fn scoreboard_agrees_with_a_plain_list(
        actions in prop::collection::vec((0usize..10, any::<usize>()), 1..80),
        count_max in 5u32..40,
    ) {
        let mut pair = Pair::new(count_max);
        for (action, place) in actions {
            pair.act(action, place);
            pair.compare();
        }
        pair.board.clear(&mut pair.pool);
        prop_assert_eq!(pair.pool.used(), 0);
    }
}

#[test]
fn full_pool_takes_no_more_and_gives_what_came_back() {
    let mut pair = Pair::new(2);
    assert!(pair.push() && pair.push());
    assert!(!pair.push());
    let head = pair.board.head();
    assert!(!pair.board.split(&mut pair.pool, head, 10));
    pair.board.pop(&mut pair.pool);
    assert!(pair.board.push(&mut pair.pool, pair.next, LEN, 9, Stamp::default()));
}

#[test]
fn record_is_as_small_as_it_claims() {
    assert_eq!(size_of::<Record>(), 44);
}
