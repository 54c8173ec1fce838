//! Transformations: what a rule does to a value before it asks.
//!
//! Owns: the words and their names. Each word has its file, with its vectors.

macro_rules! transformations {
    ($($(#[$doc:meta])* $name:ident = $text:literal $(| $alias:literal)*;)*) => {
        /// A transformation (ModSecurity reference manual, "Transformation functions").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Transformation {
            $($(#[$doc])* $name,)*
        }

        impl Transformation {
            /// Every transformation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As SecLang writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// By its name, in any case, or by another that is in use for it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                $(if name.eq_ignore_ascii_case($text) $(|| name.eq_ignore_ascii_case($alias))* {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

transformations! {
    /// Base64, strictly: stops at the first byte that is not of the alphabet.
    Base64Decode = "base64Decode";
    /// Base64, forgiving: passes over bytes that are not of the alphabet.
    Base64DecodeExt = "base64DecodeExt";
    /// Into base64.
    Base64Encode = "base64Encode";
    /// Undoes what shells ignore.
    CmdLine = "cmdLine";
    /// White space becomes one space.
    CompressWhitespace = "compressWhitespace";
    /// Undoes CSS escapes.
    CssDecode = "cssDecode";
    /// Undoes ANSI C escapes.
    EscapeSeqDecode = "escapeSeqDecode";
    /// From hexadecimal.
    HexDecode = "hexDecode";
    /// Into hexadecimal.
    HexEncode = "hexEncode";
    /// Undoes HTML entities.
    HtmlEntityDecode = "htmlEntityDecode";
    /// Undoes JavaScript escapes.
    JsDecode = "jsDecode";
    /// The length as a number.
    Length = "length";
    /// ASCII to lower case.
    Lowercase = "lowercase";
    /// MD5, raw bytes.
    Md5 = "md5";
    /// Removes `//`, `/./` and `/../`.
    NormalizePath = "normalizePath" | "normalisePath";
    /// The same, with backslashes turned.
    NormalizePathWin = "normalizePathWin" | "normalisePathWin";
    /// Even parity in the eighth bit.
    ParityEven7bit = "parityEven7bit";
    /// Odd parity in the eighth bit.
    ParityOdd7bit = "parityOdd7bit";
    /// The eighth bit is cleared.
    ParityZero7bit = "parityZero7bit";
    /// Removes comments.
    RemoveComments = "removeComments";
    /// Removes the characters of comments.
    RemoveCommentsChar = "removeCommentsChar";
    /// Removes NUL bytes.
    RemoveNulls = "removeNulls";
    /// Removes white space.
    RemoveWhitespace = "removeWhitespace";
    /// Comments become a space.
    ReplaceComments = "replaceComments";
    /// NUL bytes become spaces.
    ReplaceNulls = "replaceNulls";
    /// SHA-1, raw bytes.
    Sha1 = "sha1";
    /// `0x41` of SQL becomes `A`.
    SqlHexDecode = "sqlHexDecode";
    /// White space at both ends is removed.
    Trim = "trim";
    /// At the left.
    TrimLeft = "trimLeft";
    /// At the right.
    TrimRight = "trimRight";
    /// ASCII to upper case.
    Uppercase = "uppercase";
    /// Undoes percent-encoding, `+` included.
    UrlDecode = "urlDecode";
    /// The same, and `%uHHHH`.
    UrlDecodeUni = "urlDecodeUni";
    /// Into percent-encoding.
    UrlEncode = "urlEncode";
    /// UTF-8 becomes `%uHHHH`.
    Utf8ToUnicode = "utf8toUnicode";
}
