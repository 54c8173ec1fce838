//! The words: names of operators as SecLang writes them.
//!
//! Owns: [`Word`], why some are refused, and which word a misspelt one is near. Does not own: what they do.

use crate::named::named;

named! {
    /// The name of an operator (ModSecurity reference manual, "Operators"), without `@`.
    Word;
    /// The value begins with the argument.
    BeginsWith = "beginsWith";
    /// The argument is somewhere in the value.
    Contains = "contains";
    /// The same, as a word of its own.
    ContainsWord = "containsWord";
    /// libinjection takes the value for SQL.
    DetectSqli = "detectSQLi";
    /// libinjection takes the value for script.
    DetectXss = "detectXSS";
    /// The value ends with the argument.
    EndsWith = "endsWith";
    /// Equal numbers.
    Eq = "eq";
    /// Similar to known files; refused.
    FuzzyHash = "fuzzyHash";
    /// The value's number is at least the argument's.
    Ge = "ge";
    /// Where an address is; never found, since there is no list.
    GeoLookup = "geoLookup";
    /// Asks Google; refused.
    GsbLookup = "gsbLookup";
    /// The value's number is above the argument's.
    Gt = "gt";
    /// A program looks at an uploaded file; refused.
    InspectFile = "inspectFile";
    /// The value is an address of the list.
    IpMatch = "ipMatch";
    /// The same, from a file.
    IpMatchFromFile = "ipMatchFromFile" | "ipMatchF";
    /// The value's number is at most the argument's.
    Le = "le";
    /// The value's number is below the argument's.
    Lt = "lt";
    /// Never.
    NoMatch = "noMatch";
    /// One of the phrases is in the value, in any case.
    Pm = "pm";
    /// The same, from a file.
    PmFromFile = "pmFromFile" | "pmf";
    /// Asks a name server; never found, since none is asked while a request waits.
    Rbl = "rbl";
    /// The value is a path of this form.
    RestPath = "restpath";
    /// Replaces text; refused.
    Rsub = "rsub";
    /// The regular expression matches.
    Rx = "rx";
    /// The same, all places captured.
    RxGlobal = "rxGlobal";
    /// Equal texts.
    StrEq = "streq";
    /// The same as `contains`.
    StrMatch = "strmatch";
    /// Always.
    UnconditionalMatch = "unconditionalMatch";
    /// A byte of the value is outside of these.
    ValidateByteRange = "validateByteRange";
    /// Validates XML; refused.
    ValidateDtd = "validateDTD";
    /// Validates links that were signed; refused.
    ValidateHash = "validateHash";
    /// A national identifier with its check digit.
    ValidateNid = "validateNid" | "nids";
    /// Validates XML or JSON; refused.
    ValidateSchema = "validateSchema";
    /// Percent-encoding is broken.
    ValidateUrlEncoding = "validateUrlEncoding";
    /// UTF-8 is broken.
    ValidateUtf8Encoding = "validateUtf8Encoding";
    /// A card number.
    VerifyCc = "verifyCC";
    /// A Brazilian tax number.
    VerifyCpf = "verifyCPF";
    /// A US social security number.
    VerifySsn = "verifySSN";
    /// An Austrian social security number.
    VerifySvnr = "verifySVNR";
    /// The value is somewhere in the argument.
    Within = "within";
}

/// Why a word is refused.
pub(super) const fn why_refused(word: Word) -> &'static str {
    match word {
        Word::FuzzyHash => "it needs ssdeep hashes of whole files, which are not kept",
        Word::GsbLookup => "it asks a list of Google that no longer exists",
        Word::InspectFile => "uploads are not written to files, and no program is started for a request",
        Word::Rsub => "it changes the body, which is passed on as it came",
        Word::ValidateDtd => "document types are not loaded for hostile XML",
        Word::ValidateHash => "links of responses are not signed",
        Word::ValidateSchema => "bodies are not validated against schemas",
        _ => "it is a regular expression",
    }
}

/// The word that is spelt most like `name`, if any is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    /// Most letters that may differ.
    const LETTERS_MAX: usize = 3;
    let lower = name.to_ascii_lowercase();
    let distance = |word: &Word| strsim::damerau_levenshtein(&lower, &word.name().to_ascii_lowercase());
    let word = Word::ALL.iter().min_by_key(|word| distance(word))?;
    (distance(word) <= LETTERS_MAX.min(lower.len() / 2)).then_some(word.name())
}
