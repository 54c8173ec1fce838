//! The store against a map: the same operations, the same results.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Operation {
    Put(Vec<u8>, u8),
    Remove(Vec<u8>),
    RangeRemove(Vec<u8>, Vec<u8>, usize),
    Range(Vec<u8>, Vec<u8>, usize, bool),
    Get(Vec<u8>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0..3u8, 0..4)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Operation::Put(key, value)),
        2 => key().prop_map(Operation::Remove),
        1 => (key(), key(), 0..6usize).prop_map(|(from, to, count)| Operation::RangeRemove(from, to, count)),
        2 => (key(), key(), 0..9usize, any::<bool>()).prop_map(|(a, b, c, d)| Operation::Range(a, b, c, d)),
        1 => key().prop_map(Operation::Get),
    ]
}

fn of_model(model: &Model, from: &[u8], to: &[u8]) -> Vec<Record> {
    let is_in = |key: &[u8]| from <= key && key < to;
    model.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Does one operation with both; says what differs.
fn run(w: &mut Writer<'_>, model: &mut Model, operation: &Operation) -> Result<(), String> {
    let t = Table::Policy;
    let same = |is_same: bool| if is_same { Ok(()) } else { Err(format!("{operation:?}")) };
    match operation {
        Operation::Put(key, value) => {
            model.insert(key.clone(), vec![*value]);
            same(w.put(t, key, &[*value]).is_ok())
        }
        Operation::Remove(key) => {
            model.remove(key);
            same(w.remove(t, key).is_ok())
        }
        Operation::RangeRemove(from, to, count) => {
            let mut gone = of_model(model, from, to);
            gone.truncate(*count);
            gone.iter().for_each(|(key, _)| drop(model.remove(key)));
            same(w.range_remove(t, from.as_slice()..to.as_slice(), *count).ok() == Some(gone.len()))
        }
        Operation::Range(from, to, count, is_down) => {
            let mut expected = of_model(model, from, to);
            if *is_down {
                expected.reverse();
            }
            expected.truncate(*count);
            let order = if *is_down { Order::Down } else { Order::Up };
            same(w.range(t, from.as_slice()..to.as_slice(), *count, order).ok() == Some(expected))
        }
        Operation::Get(key) => same(w.get(t, key).ok() == Some(model.get(key).cloned())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn transactions_do_what_a_map_does(script in vec((vec(operation(), 1..12), any::<bool>()), 1..12)) {
        let (_folder, store) = store();
        let mut model = Model::new();
        for (operations, is_kept) in script {
            let mut changed = model.clone();
            let result = store.write(move |w| {
                for operation in &operations {
                    if let Err(text) = run(w, &mut changed, operation) {
                        return Ok(Err(text));
                    }
                }
                if is_kept { Ok(Ok(changed)) } else { Err(Error::Stopped { why: "for the test" }) }
            });
            if let Ok(result) = result {
                model = result.map_err(TestCaseError::fail)?;
            }
            let seen: Result<Model> =
                store.read(|r| r.range(Table::Policy, .., usize::MAX, Order::Up)?.collect());
            prop_assert_eq!(seen.unwrap(), model.clone());
            prop_assert_eq!(store.read(|r| r.len(Table::Policy)).unwrap(), model.len() as u64);
        }
    }
}
