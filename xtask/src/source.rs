//! Rust source split into code and comments, so that a scan for a word is not misled by prose or strings.
//!
//! Owns: a lexer that knows comments, strings, characters and lifetimes, and nothing else of the language.
//! Cannot: see through macros. Lines keep their numbers: what is masked becomes spaces.

/// A masked source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Lines with comments and the contents of literals blanked.
    pub(crate) code: Vec<String>,
    /// Lines with everything but comments blanked.
    pub(crate) comments: Vec<String>,
    /// Per line: whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) is_test: Vec<bool>,
    /// Functions with a body, in order.
    pub(crate) functions: Vec<Function>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Line of the word `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from the word `fn` to the closing brace.
    pub(crate) line_count: usize,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        let (code, comments) = mask(text);
        let is_test = test_lines(&code);
        let functions = functions(&code);
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        Self { code: lines(&code), comments: lines(&comments), is_test, functions }
    }

    /// Whether line `index` (from 0) holds neither code nor comment: if it is not empty it is inside a string.
    pub(crate) fn is_inside_text(&self, index: usize) -> bool {
        let is_blank = |lines: &[String]| lines.get(index).is_none_or(|line| line.trim().is_empty());
        is_blank(&self.code) && is_blank(&self.comments)
    }

    /// Code lines outside tests, with their numbers from 1.
    pub(crate) fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.is_test).enumerate();
        lines.filter(|(_, (_, is_test))| !**is_test).map(|(index, (line, _))| (index + 1, line.as_str()))
    }
}

/// Whether `word` stands in `line` with no identifier character on either side. A pattern that starts or ends
/// with punctuation is not bounded there.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let left = !word.starts_with(is_ident) || !before.is_some_and(is_ident);
        let right = !word.ends_with(is_ident) || !after.is_some_and(is_ident);
        left && right
    })
}

/// What the lexer is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

fn mask(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < chars.len() {
        let (len, next, is_comment) = step(&chars, at, inside);
        let is_code = inside == Inside::Code && next == Inside::Code && len == 1;
        for &c in &chars[at..at + len] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if is_code { c } else { blank });
            comments.push(if is_comment { c } else { blank });
        }
        inside = next;
        at += len;
    }
    (code, comments)
}

/// Takes the next characters: how many, what follows, whether they are comment.
fn step(chars: &[char], at: usize, inside: Inside) -> (usize, Inside, bool) {
    let here = chars[at];
    let next = chars.get(at + 1).copied().unwrap_or('\0');
    match inside {
        Inside::LineComment if here == '\n' => (1, Inside::Code, false),
        Inside::LineComment => (1, inside, true),
        Inside::BlockComment { depth } if here == '*' && next == '/' => {
            (2, if depth == 1 { Inside::Code } else { Inside::BlockComment { depth: depth - 1 } }, true)
        }
        Inside::BlockComment { depth } if here == '/' && next == '*' => {
            (2, Inside::BlockComment { depth: depth + 1 }, true)
        }
        Inside::BlockComment { .. } => (1, inside, true),
        Inside::Text if here == '\\' && next != '\0' => (2, inside, false),
        Inside::Text => (1, if here == '"' { Inside::Code } else { inside }, false),
        Inside::RawText { hashes } => {
            let closes = here == '"' && count_hashes(chars, at + 1) >= hashes;
            if closes { (1 + hashes, Inside::Code, false) } else { (1, inside, false) }
        }
        Inside::Code => step_code(chars, at, here, next),
    }
}

fn step_code(chars: &[char], at: usize, here: char, next: char) -> (usize, Inside, bool) {
    let follows_ident = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match here {
        '/' if next == '/' => (2, Inside::LineComment, true),
        '/' if next == '*' => (2, Inside::BlockComment { depth: 1 }, true),
        '"' => (1, Inside::Text, false),
        'r' | 'b' | 'c' if !follows_ident => {
            let raw_at = at + if next == 'r' && here != 'r' { 2 } else { 1 };
            let is_raw = here == 'r' || next == 'r';
            let hashes = count_hashes(chars, raw_at);
            if is_raw && chars.get(raw_at + hashes) == Some(&'"') {
                (raw_at + hashes + 1 - at, Inside::RawText { hashes }, false)
            } else {
                (1, Inside::Code, false)
            }
        }
        '\'' => (char_literal_len(chars, at).unwrap_or(1), Inside::Code, false),
        _ => (1, Inside::Code, false),
    }
}

fn count_hashes(chars: &[char], from: usize) -> usize {
    chars.iter().skip(from).take_while(|&&c| c == '#').count()
}

/// Length of the character literal that starts with the quote at `at`; `None` for a lifetime.
fn char_literal_len(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let end = chars.iter().skip(at + 3).take(12).position(|&c| c == '\'')?;
        return Some(end + 4);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(3)
}

/// Byte offset just past the item that starts at `from`: its closing brace or its semicolon. `None` when the
/// text ends first. `body` is the offset of the opening brace, if the item has one.
fn item_end(code: &str, from: usize) -> Option<(Option<usize>, usize)> {
    let (mut nesting, mut braces, mut body) = (0_i32, 0_i32, None);
    for (offset, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            '{' => {
                braces += 1;
                body = body.or(Some(from + offset));
            }
            '}' => {
                braces -= 1;
                if braces <= 0 {
                    return Some((body, from + offset + 1));
                }
            }
            ';' if nesting == 0 && braces == 0 => return Some((None, from + offset + 1)),
            _ => {}
        }
    }
    None
}

fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

fn test_lines(code: &str) -> Vec<bool> {
    let mut is_test = vec![false; code.lines().count()];
    for pattern in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (at, _) in code.match_indices(pattern) {
            let after = code[at..].find(']').map_or(code.len(), |offset| at + offset + 1);
            let end = item_end(code, after).map_or(code.len(), |(_, end)| end);
            let last = line_of(code, end).min(is_test.len());
            is_test[line_of(code, at) - 1..last].fill(true);
        }
    }
    is_test
}

fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_bounded = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = code[at + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !is_bounded || name.is_empty() {
            continue;
        }
        if let Some((Some(_), end)) = item_end(code, at) {
            let line = line_of(code, at);
            found.push(Function { name, line, line_count: line_of(code, end - 1) - line + 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let source =
            Source::parse("let a = \"unsafe \\\" x\"; // unsafe here\n/* unsafe /* nested */ */ unsafe {}\n");
        assert!(!has_word(&source.code[0], "unsafe"));
        assert!(source.comments[0].contains("unsafe here"));
        assert!(has_word(&source.code[1], "unsafe"));
        assert_eq!(source.code[1].matches("unsafe").count(), 1);
    }

    #[test]
    fn raw_strings_lifetimes_and_characters_are_told_apart() {
        let text = "fn f<'a>(x: &'a str) -> char { let s = r#\"\"unsafe\"\"#; let b = br\"unsafe\"; '\"' }\nunsafe_code";
        let source = Source::parse(text);
        assert!(!has_word(&source.code[0], "unsafe"));
        assert!(source.code[0].contains("&'a str"));
        assert!(!has_word(&source.code[1], "unsafe"), "a longer identifier is another word");
        assert_eq!(source.functions[0].name, "f");
    }

    #[test]
    fn escaped_quotes_do_not_end_a_character() {
        let source = Source::parse("let q = '\\''; let u = '\\u{1F600}'; unsafe");
        assert!(has_word(&source.code[0], "unsafe"));
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n";
        let source = Source::parse(text);
        assert_eq!(source.is_test, [false, true, true, true, true, false, true, true, false]);
        assert_eq!(source.product_code().count(), 3);
    }

    #[test]
    fn function_length_spans_the_body() {
        let text =
            "trait T {\n    fn no_body(&self);\n    fn body(&self) -> [u8; 2] {\n        [1, 2]\n    }\n}\n";
        let source = Source::parse(text);
        assert_eq!(source.functions, [Function { name: "body".into(), line: 3, line_count: 3 }]);
    }

    #[test]
    fn words_are_bounded_but_punctuation_is_not() {
        assert!(has_word("x = Instant::now();", "Instant::now"));
        assert!(!has_word("MyInstant::now()", "Instant::now"));
        assert!(has_word("std::env::var()", "std::env"));
        assert!(has_word("use rand::Rng;", "rand::"));
        assert!(!has_word("use operand::Rng;", "rand::"));
    }
}
