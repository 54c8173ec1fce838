//! Operators: what a rule asks of a value.
//!
//! Owns: their compiled form ([`Operator`]), and what a match captures. Each word has its file with
//! its vectors. Does not own: regular expressions (`rx`), macros (the caller expands them), negation.
//!
//! Cost: everything that depends on the rule alone is done by [`Operator::compile`]; [`Operator::matches`] allocates
//! nothing and is linear in the value.
//!
//! Sources: ModSecurity reference manual v3, "Operators", and the behaviour of ModSecurity 3.0.14 and Coraza 3.

mod addresses;
mod begins_with;
mod byte_range;
mod captures;
mod card;
mod contains;
mod contains_word;
mod cpf;
mod ends_with;
pub mod fuzz;
mod national_id;
mod number;
mod phrases;
pub mod prefilter;
mod rest_path;
pub mod rx;
mod social_security;
mod streq;
mod svnr;
mod url_encoding;
mod utf8_encoding;
mod verify;
mod within;
mod word;

use std::fmt;

pub use captures::{CAPTURES_MAX, Captures};
pub(crate) use number::number_of;
use thiserror::Error;
pub use word::Word;

use crate::{byte_set::ByteSet, libinjection, limits, seclang::Files};

/// Why an operator cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OperatorError {
    /// No operator has this name.
    #[error("no operator is called @{name}{}", Nearest(*nearest))]
    Unknown {
        /// As written.
        name: String,
        /// The one that is spelt most like it.
        nearest: Option<&'static str>,
    },
    /// A regular expression: it has a compiler of its own.
    #[error("@{name} is compiled with the regular expressions of the rule set")]
    Pattern {
        /// `rx` or `rxGlobal`.
        name: &'static str,
    },
    /// The operator exists elsewhere, not here.
    #[error("@{name} is not supported: {reason}")]
    Unsupported {
        /// Which.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Its argument makes no sense.
    #[error("@{name}: {reason}")]
    Argument {
        /// Which.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Its file cannot be read.
    #[error("@{name}: file {path}: {reason}")]
    File {
        /// Which.
        name: &'static str,
        /// As the caller was asked for it.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(out, "; did you mean @{name}?"))
    }
}

/// An operator with its argument, ready to be asked.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `beginsWith`
    BeginsWith(begins_with::BeginsWith),
    /// `contains`, `strmatch`
    Contains(contains::Contains),
    /// `containsWord`
    ContainsWord(contains_word::ContainsWord),
    /// `detectSQLi`
    DetectSqli,
    /// `detectXSS`
    DetectXss,
    /// `endsWith`
    EndsWith(ends_with::EndsWith),
    /// `eq`, `ge`, `gt`, `le`, `lt`
    Number(number::Number),
    /// `ipMatch`, `ipMatchFromFile`
    IpMatch(addresses::Addresses),
    /// `noMatch`
    NoMatch,
    /// `pm`, `pmFromFile`
    Pm(Box<phrases::Phrases>),
    /// `restpath`
    RestPath(Box<rest_path::RestPath>),
    /// `streq`
    StrEq(streq::StrEq),
    /// `unconditionalMatch`
    UnconditionalMatch,
    /// `validateByteRange`
    ValidateByteRange(byte_range::ByteRange),
    /// `validateNid`, `verifyCC`, `verifyCPF`, `verifySSN`, `verifySVNR`
    Verify(Box<verify::Verify>),
    /// `validateUrlEncoding`
    ValidateUrlEncoding,
    /// `validateUtf8Encoding`
    ValidateUtf8Encoding,
    /// `within`
    Within,
}

impl Operator {
    /// Compiles `@name argument`.
    ///
    /// `argument` is the static text, or `None` when it has macros. `directory` is that of the rule file; data files
    /// are relative to it. `rx` and `rxGlobal` yield [`OperatorError::Pattern`].
    ///
    /// # Errors
    /// An unknown or unsupported word, an argument that makes no sense, a file that cannot be read, or macros where
    /// the word must compile its argument.
    pub fn compile(
        name: &str,
        argument: Option<&str>,
        directory: &str,
        files: &dyn Files,
    ) -> Result<Self, OperatorError> {
        let Some(word) = Word::from_name(name) else {
            return Err(OperatorError::Unknown { name: name.to_owned(), nearest: word::nearest(name) });
        };
        let call = Call { word, argument, directory, files };
        Ok(match word {
            Word::BeginsWith => Self::BeginsWith(begins_with::BeginsWith::compile(argument)),
            Word::Contains | Word::StrMatch => Self::Contains(contains::Contains::compile(argument)),
            Word::ContainsWord => Self::ContainsWord(contains_word::ContainsWord::compile(&call)?),
            Word::DetectSqli => Self::DetectSqli,
            Word::DetectXss => Self::DetectXss,
            Word::EndsWith => Self::EndsWith(ends_with::EndsWith::compile(argument)),
            Word::Eq | Word::Ge | Word::Gt | Word::Le | Word::Lt => {
                Self::Number(number::Number::compile(word, argument))
            }
            Word::IpMatch => Self::IpMatch(addresses::Addresses::compile(&call)?),
            Word::IpMatchFromFile => Self::IpMatch(addresses::Addresses::compile_file(&call)?),
            // Rule sets that ask these are read; without a list, or a name server, nothing is found. The caller tells.
            Word::NoMatch | Word::GeoLookup | Word::Rbl => Self::NoMatch,
            Word::Pm => Self::Pm(Box::new(phrases::Phrases::compile(&call)?)),
            Word::PmFromFile => Self::Pm(Box::new(phrases::Phrases::compile_file(&call)?)),
            Word::RestPath => Self::RestPath(Box::new(rest_path::RestPath::compile(&call)?)),
            Word::StrEq => Self::StrEq(streq::StrEq::compile(argument)),
            Word::UnconditionalMatch => Self::UnconditionalMatch,
            Word::ValidateByteRange => Self::ValidateByteRange(byte_range::ByteRange::compile(&call)?),
            Word::ValidateNid | Word::VerifyCc | Word::VerifyCpf | Word::VerifySsn | Word::VerifySvnr => {
                Self::Verify(Box::new(verify::Verify::compile(&call)?))
            }
            Word::ValidateUrlEncoding => Self::ValidateUrlEncoding,
            Word::ValidateUtf8Encoding => Self::ValidateUtf8Encoding,
            Word::Within => Self::Within,
            Word::Rx | Word::RxGlobal => return Err(OperatorError::Pattern { name: word.name() }),
            Word::FuzzyHash
            | Word::GsbLookup
            | Word::InspectFile
            | Word::Rsub
            | Word::ValidateDtd
            | Word::ValidateHash
            | Word::ValidateSchema => {
                return Err(OperatorError::Unsupported {
                    name: word.name(),
                    reason: word::why_refused(word),
                });
            }
        })
    }

    /// Whether the value is what the operator asks for.
    ///
    /// `argument` is the expanded argument; without macros, the static text. `captures` is filled only by a match of
    /// a word that captures.
    pub fn matches(&self, value: &[u8], argument: &[u8], captures: &mut Captures) -> bool {
        match self {
            Self::BeginsWith(_) => begins_with::matches(value, argument),
            Self::Contains(contains) => contains.matches(value, argument),
            Self::ContainsWord(word) => word.matches(value, argument),
            Self::DetectSqli => match libinjection::sqli(value) {
                Some(fingerprint) => {
                    captures.set_text(fingerprint.as_bytes());
                    true
                }
                None => false,
            },
            Self::DetectXss => {
                let is_script = libinjection::xss(value);
                if is_script {
                    captures.set(0, 0..value.len());
                }
                is_script
            }
            Self::EndsWith(_) => ends_with::matches(value, argument),
            Self::Number(number) => number.matches(value, argument),
            Self::IpMatch(addresses) => addresses.matches(value),
            Self::NoMatch => false,
            Self::Pm(phrases) => phrases.matches(value, captures),
            Self::RestPath(path) => path.matches(value),
            Self::StrEq(_) => streq::matches(value, argument),
            Self::UnconditionalMatch => true,
            Self::ValidateByteRange(range) => range.matches(value),
            Self::Verify(verify) => verify.matches(value, captures),
            Self::ValidateUrlEncoding => url_encoding::matches(value),
            Self::ValidateUtf8Encoding => utf8_encoding::matches(value),
            Self::Within => within::matches(value, argument),
        }
    }

    /// Bytes of which a value must have at least one to match; a value with none of them need not be asked about.
    ///
    /// `None`: nothing can be said.
    #[must_use]
    pub fn bytes_needed(&self) -> Option<ByteSet> {
        match self {
            Self::BeginsWith(begins_with::BeginsWith { rarest })
            | Self::EndsWith(ends_with::EndsWith { rarest })
            | Self::StrEq(streq::StrEq { rarest }) => rarest.map(|byte| ByteSet::of(&[byte])),
            Self::Contains(contains) => contains.bytes_needed(),
            Self::ContainsWord(word) => word.bytes_needed(),
            Self::DetectSqli => Some(libinjection::SQLI_BYTES),
            Self::DetectXss => Some(libinjection::XSS_BYTES),
            Self::IpMatch(_) => Some(ByteSet::of(b".:")),
            Self::NoMatch => Some(ByteSet::EMPTY),
            Self::Pm(phrases) => Some(phrases.bytes_needed()),
            Self::ValidateByteRange(range) => Some(range.bytes_needed()),
            Self::Verify(_) => Some(ByteSet::range(b'0', b'9')),
            Self::ValidateUrlEncoding => Some(ByteSet::of(b"%")),
            Self::ValidateUtf8Encoding => Some(ByteSet::range(0x80, 0xff)),
            Self::Number(_) | Self::RestPath(_) | Self::UnconditionalMatch | Self::Within => None,
        }
    }

    /// Texts of which one is in every value that matches, in any case; `None` for words that look for no texts.
    #[must_use]
    pub fn phrases(&self) -> Option<impl Iterator<Item = &[u8]>> {
        match self {
            Self::Pm(phrases) => Some(phrases.phrases()),
            _ => None,
        }
    }

    /// Gives what `restpath` finds in a value that it matches: the names of its path and the ranges of their values.
    ///
    /// Nothing for other words.
    pub fn path_arguments(&self, value: &[u8], give: &mut dyn FnMut(&str, std::ops::Range<usize>)) {
        if let Self::RestPath(path) = self {
            path.arguments(value, give);
        }
    }
}

/// What a word is compiled from.
struct Call<'a> {
    word: Word,
    argument: Option<&'a str>,
    directory: &'a str,
    files: &'a dyn Files,
}

impl<'a> Call<'a> {
    /// The argument of a word that cannot do with macros.
    fn text(&self) -> Result<&'a str, OperatorError> {
        self.argument.ok_or_else(|| self.wrong("takes no macros, since its argument is compiled once"))
    }

    /// The file that the argument names.
    fn file(&self) -> Result<Vec<u8>, OperatorError> {
        let name = self.text()?.trim();
        if name.is_empty() {
            return Err(self.wrong("names no file"));
        }
        if name.contains("://") {
            return Err(self.wrong("takes files, no addresses of the web"));
        }
        let path = if name.starts_with('/') || self.directory.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.directory.trim_end_matches('/'))
        };
        let bytes = self.files.read(&path).map_err(|reason| self.file_error(&path, reason))?;
        if bytes.len() > limits::FILE_BYTES_MAX {
            return Err(self.file_error(&path, format!("longer than {} bytes", limits::FILE_BYTES_MAX)));
        }
        Ok(bytes)
    }

    fn file_error(&self, path: &str, reason: String) -> OperatorError {
        OperatorError::File { name: self.word.name(), path: path.to_owned(), reason }
    }

    fn wrong(&self, reason: impl Into<String>) -> OperatorError {
        OperatorError::Argument { name: self.word.name(), reason: reason.into() }
    }
}

/// The byte of a text that other texts have least; none if it is empty.
fn rarest(text: &[u8]) -> Option<u8> {
    text.iter().copied().min_by_key(|&byte| frequency(byte))
}

/// How common a byte is in what clients send, in four steps.
const fn frequency(byte: u8) -> u8 {
    match byte {
        b'a' | b'e' | b'i' | b'n' | b'o' | b'r' | b's' | b't' => 3,
        b'a'..=b'z' | b' ' | b'/' | b'.' | b'-' | b'=' => 2,
        b'0'..=b'9' | b'A'..=b'Z' | b'_' | b',' | b';' | b':' => 1,
        _ => 0,
    }
}

/// What the tests of the words share.
#[cfg(test)]
mod tests_support {
    use super::{Call, Word};
    use crate::seclang::Files;

    /// A disk with one file, `rules/list`.
    pub(super) struct OneFile(pub(super) &'static [u8]);

    impl Files for OneFile {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            if path == "rules/list" { Ok(self.0.to_vec()) } else { Err(format!("{path} is not there")) }
        }

        fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
            Ok(vec![pattern.to_owned()])
        }
    }

    pub(super) fn call(word: Word, argument: &str) -> Call<'_> {
        Call { word, argument: Some(argument), directory: "rules", files: &OneFile(b"") }
    }
}

#[cfg(test)]
mod tests {
    use super::{tests_support::OneFile, *};

    /// No file that is asked for.
    const NO_FILES: OneFile = OneFile(b"");

    #[test]
    fn every_word_is_known_by_its_name_and_either_compiles_or_says_why() {
        for &word in Word::ALL {
            assert_eq!(Word::from_name(&word.name().to_uppercase()), Some(word));
            let error = Operator::compile(word.name(), Some("1"), "rules", &NO_FILES).err();
            match word {
                Word::Rx | Word::RxGlobal => assert!(matches!(error, Some(OperatorError::Pattern { .. }))),
                Word::IpMatch | Word::ValidateNid => {
                    assert!(matches!(error, Some(OperatorError::Argument { .. })));
                }
                Word::IpMatchFromFile | Word::PmFromFile => {
                    let Some(OperatorError::File { path, .. }) = error else { panic!("{error:?}") };
                    assert_eq!(path, "rules/1");
                }
                Word::FuzzyHash | Word::GsbLookup | Word::InspectFile => {
                    assert!(matches!(error, Some(OperatorError::Unsupported { .. })));
                }
                Word::Rsub | Word::ValidateDtd | Word::ValidateHash | Word::ValidateSchema => {
                    assert!(matches!(error, Some(OperatorError::Unsupported { .. })));
                }
                _ => assert_eq!(error, None, "{word:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_word_names_its_neighbour() {
        let error = Operator::compile("beginWith", Some(""), "", &NO_FILES).unwrap_err();
        assert_eq!(error.to_string(), "no operator is called @beginWith; did you mean @beginsWith?");
        let error = Operator::compile("xyzzy", Some(""), "", &NO_FILES).unwrap_err();
        assert_eq!(error.to_string(), "no operator is called @xyzzy");
    }

    #[test]
    fn words_that_compile_their_argument_take_no_macros() {
        for &word in Word::ALL {
            let is_refused = Operator::compile(word.name(), None, "", &NO_FILES)
                .is_err_and(|error| error.to_string().contains("macros"));
            let compiles = matches!(
                word,
                Word::IpMatch | Word::IpMatchFromFile | Word::Pm | Word::PmFromFile | Word::RestPath
            ) || word.name().starts_with("verify")
                || matches!(word, Word::ValidateByteRange | Word::ValidateNid);
            assert_eq!(is_refused, compiles, "{word:?}");
        }
    }
}
