//! What variables hold.
//!
//! Owns: [`Data`]: single values, members of collections, `TX`, captures. Does not own: how they are filled (`request`,
//! `response`, `effect`), or how rules see them (`group`).

use super::value::{ValueId, Values};
use crate::operator::number_of;
use crate::ruleset::{CAPTURE_NAMES, Names, TxId};
use crate::seclang::ast::BodyProcessor;
use crate::variable::Variable;

/// A member of a collection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: ValueId,
    pub(crate) value: ValueId,
}

/// Collections that are stored as members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    ArgsGet,
    ArgsPost,
    RequestHeaders,
    RequestCookies,
    ResponseHeaders,
    Files,
    FilesSizes,
    MultipartFilename,
    MultipartName,
    MultipartPartHeaders,
    XmlContent,
    XmlAttributes,
    Env,
    MatchedVars,
    Global,
    Ip,
    Resource,
    Session,
    User,
    /// `TX` variables whose names no rule writes out.
    Tx,
}

/// How many there are.
pub(crate) const STORES: usize = Store::Tx as usize + 1;

/// What a `TX` variable holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum TxValue {
    #[default]
    Unset,
    Number(i64),
    Text(ValueId),
}

/// What variables hold.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) values: Values,
    singles: Vec<ValueId>,
    stores: [Vec<Member>; STORES],
    pub(crate) tx: Vec<TxValue>,
    pub(crate) captured: [Option<ValueId>; CAPTURE_NAMES],
    /// Bytes of names and values of arguments.
    pub(crate) arguments_bytes: usize,
    /// Bytes of files.
    pub(crate) files_bytes: u64,
    /// The request body, as far as it is kept.
    pub(crate) body: ValueId,
    pub(crate) processor: Option<BodyProcessor>,
    pub(crate) time_unix_s: u64,
    pub(crate) started_us: u64,
    pub(crate) now_us: u64,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            values: Values::default(),
            singles: vec![ValueId::EMPTY; Variable::ALL.len()],
            stores: Default::default(),
            tx: Vec::new(),
            captured: [None; CAPTURE_NAMES],
            arguments_bytes: 0,
            files_bytes: 0,
            body: ValueId::EMPTY,
            processor: None,
            time_unix_s: 0,
            started_us: 0,
            now_us: 0,
        }
    }
}

impl Data {
    pub(crate) fn reset(&mut self, names: &Names, bytes_max: usize) {
        self.values.reset(bytes_max);
        self.singles.fill(ValueId::EMPTY);
        for store in &mut self.stores {
            store.clear();
        }
        self.tx.clear();
        self.tx.resize(names.len(), TxValue::Unset);
        self.captured = [None; CAPTURE_NAMES];
        self.arguments_bytes = 0;
        self.files_bytes = 0;
        self.processor = None;
        self.body = ValueId::EMPTY;
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        let members: usize = self.stores.iter().map(Vec::capacity).sum();
        self.values.capacity_bytes()
            + members * size_of::<Member>()
            + self.singles.capacity() * size_of::<ValueId>()
            + self.tx.capacity() * size_of::<TxValue>()
    }

    #[inline]
    pub(crate) fn single(&self, variable: Variable) -> ValueId {
        self.singles[variable as usize]
    }

    pub(crate) fn set_single(&mut self, variable: Variable, value: ValueId) {
        self.singles[variable as usize] = value;
    }

    pub(crate) fn set_text(&mut self, variable: Variable, text: &[u8]) {
        let value = self.values.add(text);
        self.set_single(variable, value);
    }

    pub(crate) fn set_number(&mut self, variable: Variable, number: u64) {
        let value = self.number(number);
        self.set_single(variable, value);
    }

    pub(crate) fn number(&mut self, number: u64) -> ValueId {
        let mut digits = [0; 20];
        let text = decimal(number, &mut digits);
        self.values.add(text)
    }

    #[inline]
    pub(crate) fn members(&self, store: Store) -> &[Member] {
        &self.stores[store as usize]
    }

    pub(crate) fn add(&mut self, store: Store, name: ValueId, value: ValueId) {
        self.stores[store as usize].push(Member { name, value });
    }

    pub(crate) fn add_text(&mut self, store: Store, name: &[u8], value: &[u8]) {
        let name = self.values.add(name);
        let value = self.values.add(value);
        self.add(store, name, value);
    }

    pub(crate) fn clear(&mut self, store: Store) {
        self.stores[store as usize].clear();
    }

    /// The first member of this name, in any case.
    pub(crate) fn find(&self, store: Store, name: &[u8]) -> Option<ValueId> {
        let members = self.members(store).iter();
        members
            .clone()
            .find(|member| self.values.get(member.name).eq_ignore_ascii_case(name))
            .map(|m| m.value)
    }

    /// Sets the member of this name, or removes it.
    pub(crate) fn set_member(&mut self, store: Store, name: &[u8], value: Option<ValueId>) {
        let values = &self.values;
        let members = &mut self.stores[store as usize];
        let found = members.iter().position(|member| values.get(member.name).eq_ignore_ascii_case(name));
        match (found, value) {
            (Some(index), Some(value)) => members[index].value = value,
            (Some(index), None) => {
                members.remove(index);
            }
            (None, Some(value)) => {
                let name = self.values.add(name);
                self.add(store, name, value);
            }
            (None, None) => {}
        }
    }

    /// What a `TX` variable holds.
    #[inline]
    pub(crate) fn tx(&self, id: TxId) -> TxValue {
        let index = usize::from(id.0);
        if index < CAPTURE_NAMES {
            return self.captured[index].map_or(TxValue::Unset, TxValue::Text);
        }
        self.tx.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn set_tx(&mut self, id: TxId, value: TxValue) {
        let index = usize::from(id.0);
        if index < CAPTURE_NAMES {
            self.captured[index] = match value {
                TxValue::Unset => None,
                TxValue::Text(text) => Some(text),
                TxValue::Number(number) => Some(self.signed(number)),
            };
        } else if let Some(slot) = self.tx.get_mut(index) {
            *slot = value;
        }
    }

    /// The text of a `TX` value.
    pub(crate) fn tx_text(&mut self, value: TxValue) -> Option<ValueId> {
        match value {
            TxValue::Unset => None,
            TxValue::Number(number) => Some(self.signed(number)),
            TxValue::Text(text) => Some(text),
        }
    }

    pub(crate) fn signed(&mut self, number: i64) -> ValueId {
        let mut digits = [0; 20];
        let text = decimal(number.unsigned_abs(), &mut digits);
        if number < 0 { self.values.add_parts(&[b"-", text]) } else { self.values.add(text) }
    }

    /// The number of a `TX` value; what is no number counts as 0, what is unset as `None`.
    #[inline]
    pub(crate) fn tx_number(&self, value: TxValue) -> Option<i64> {
        match value {
            TxValue::Unset => None,
            TxValue::Number(number) => Some(number),
            TxValue::Text(text) => Some(number_of(self.values.get(text))),
        }
    }
}

/// Decimal digits of a number.
pub(crate) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// A number if the text is one written in the shortest way, so that nothing is lost by keeping the number.
pub(crate) fn exact_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_plain.then(|| number_of(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number) in
            [("12", 12), ("-3x", -3), ("", 0), ("abc", 0), (" 7", 7), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(number_of(text.as_bytes()), number, "{text}");
        }
        for (text, number) in
            [("0", Some(0)), ("05", None), ("-0", None), ("5", Some(5)), ("5 ", None), ("-12", Some(-12))]
        {
            assert_eq!(exact_number(text.as_bytes()), number, "{text}");
        }
    }
}
