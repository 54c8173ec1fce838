//! Files into a [`Configuration`]: directives, includes, chains.
//!
//! Owns: [`read`], the order of files, and their bounds. Does not own: the grammar inside a directive ([`super::rule`],
//! [`super::setting`]).

use super::ast::{Configuration, Directive, Phase, Position};
use super::diagnostics::{Diagnostics, quoted, unknown};
use super::foreign::{self, Fate};
use super::line::{Line, Lines, Word};
use super::rule::{self, Problem, Reading};
use super::setting::{self, Seen};
use super::{Files, action, candidates, change, check, operator, unicode_map};
use crate::limits::{
    CHAIN_LINKS_MAX, DIRECTIVES_MAX, FILE_BYTES_MAX, FILES_MAX, INCLUDE_DEPTH_MAX, NOTES_MAX, RULES_MAX,
    SET_BYTES_MAX,
};

/// Directives about rules and files.
const NAMES: &[&str] = &[
    "Include",
    "IncludeOptional",
    "SecAction",
    "SecDefaultAction",
    "SecMarker",
    "SecRule",
    "SecRuleRemoveById",
    "SecRuleRemoveByMsg",
    "SecRuleRemoveByTag",
    "SecRuleUpdateActionById",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByMsg",
    "SecRuleUpdateTargetByTag",
    "SecUnicodeMapFile",
];

/// Reads rule files in the order given; a path may have `*` and `?` in its last component.
///
/// # Errors
/// All that is wrong in them, up to a bound.
pub fn read(paths: &[&str], files: &dyn Files) -> Result<Configuration, Diagnostics> {
    let mut reader = Reader::new(files);
    for path in paths {
        let result = reader.include(path, "", 0, false);
        if let Err(message) = result {
            reader.diagnostics.push(path, 0, message);
        }
    }
    reader.finish()
}

/// Reads rules that are given as text; `name` stands for the file, and files that it names are looked for beside it.
///
/// # Errors
/// As [`read`].
pub fn read_text(name: &str, text: &str, files: &dyn Files) -> Result<Configuration, Diagnostics> {
    let mut reader = Reader::new(files);
    if let Err(message) = reader.file(name, text.as_bytes(), 0) {
        reader.diagnostics.push(name, 0, message);
    }
    reader.finish()
}

/// Whether the next rule is a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    Closed,
    /// Begun by the last directive, on this line.
    Open(u32),
    /// Likewise, but the first rule was wrong and is not kept.
    Lost(u32),
}

/// Why a file was not read.
enum Unread {
    /// Not there or not readable.
    Missing(String),
    /// At a bound.
    Refused(String),
}

impl Unread {
    fn message(self) -> String {
        match self {
            Self::Missing(message) | Self::Refused(message) => message,
        }
    }
}

struct Reader<'a> {
    source: &'a dyn Files,
    configuration: Configuration,
    diagnostics: Diagnostics,
    seen: Seen,
    chain: Chain,
    rules: usize,
    bytes: usize,
    /// Phases that have a default action.
    defaults: Vec<Phase>,
}

type Outcome = Result<(), Vec<Problem>>;

impl<'a> Reader<'a> {
    fn new(source: &'a dyn Files) -> Self {
        Self {
            source,
            configuration: Configuration::default(),
            diagnostics: Diagnostics::default(),
            seen: Seen::default(),
            chain: Chain::Closed,
            rules: 0,
            bytes: 0,
            defaults: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<Configuration, Diagnostics> {
        for (position, message) in check::errors(&self.configuration.directives) {
            let name = self.configuration.files.get(usize::from(position.file)).map_or("", String::as_str);
            self.diagnostics.push(name, position.line, message);
        }
        if self.diagnostics.list.is_empty() { Ok(self.configuration) } else { Err(self.diagnostics) }
    }

    /// Reads the files that a pattern names.
    fn include(
        &mut self,
        pattern: &str,
        naming: &str,
        depth: usize,
        is_optional: bool,
    ) -> Result<(), String> {
        if depth > INCLUDE_DEPTH_MAX {
            return Err(format!("more than {INCLUDE_DEPTH_MAX} files include each other"));
        }
        if !pattern.contains(['*', '?']) {
            return match self.fetch(pattern, naming) {
                Ok((path, bytes)) => self.file(&path, &bytes, depth),
                Err(Unread::Missing(_)) if is_optional => Ok(()),
                Err(reason) => Err(reason.message()),
            };
        }
        let mut paths = Vec::new();
        let mut reason = format!("{} names no file", quoted(pattern));
        for candidate in candidates(naming, pattern) {
            match self.source.expand(&candidate) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    paths = found;
                    break;
                }
                Err(message) => reason = format!("{}: {message}", quoted(pattern)),
            }
        }
        if paths.is_empty() && !is_optional {
            return Err(reason);
        }
        for path in paths {
            let (path, bytes) = self.fetch(&path, "").map_err(Unread::message)?;
            self.file(&path, &bytes, depth)?;
        }
        Ok(())
    }

    /// The file that `naming` calls `path`, and where it was found.
    fn fetch(&mut self, path: &str, naming: &str) -> Result<(String, Vec<u8>), Unread> {
        let refused = |message: String| Unread::Refused(format!("{}: {message}", quoted(path)));
        if self.configuration.files.len() + self.configuration.data.len() >= FILES_MAX {
            return Err(refused(format!("more than {FILES_MAX} files")));
        }
        let mut reason = String::new();
        for candidate in candidates(naming, path) {
            match self.source.read(&candidate) {
                Ok(bytes) => {
                    self.bytes += bytes.len();
                    if bytes.len() > FILE_BYTES_MAX {
                        return Err(refused(format!("more than {FILE_BYTES_MAX} bytes")));
                    }
                    if self.bytes > SET_BYTES_MAX {
                        return Err(refused(format!(
                            "all files together have more than {SET_BYTES_MAX} bytes"
                        )));
                    }
                    return Ok((candidate, bytes));
                }
                Err(message) => reason = message,
            }
        }
        Err(Unread::Missing(format!("{} cannot be read: {reason}", quoted(path))))
    }

    fn file(&mut self, name: &str, bytes: &[u8], depth: usize) -> Result<(), String> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!("{} has more than {FILE_BYTES_MAX} bytes", quoted(name)));
        }
        let index = self.configuration.files.len();
        let file = u16::try_from(index).map_err(|_| format!("more than {FILES_MAX} files"))?;
        self.configuration.files.push(name.to_owned());
        for line in Lines::new(bytes) {
            if self.diagnostics.is_full() {
                self.diagnostics.is_truncated = true;
                break;
            }
            let outcome = match line {
                Ok(line) => self.line(&line, file, name, depth),
                Err(number) => Err(vec![Problem::new(number, "the line is not UTF-8")]),
            };
            for problem in outcome.err().unwrap_or_default() {
                self.diagnostics.push(name, problem.line, problem.message);
            }
        }
        if let Some(problem) = self.unfinished_chain() {
            self.diagnostics.push(name, problem.line, problem.message);
        }
        Ok(())
    }

    fn unfinished_chain(&mut self) -> Option<Problem> {
        let chain = std::mem::replace(&mut self.chain, Chain::Closed);
        match chain {
            Chain::Open(line) => Some(Problem::new(line, "the chain ends without its last rule")),
            Chain::Closed | Chain::Lost(_) => None,
        }
    }

    fn line(&mut self, line: &Line, file: u16, name: &str, depth: usize) -> Outcome {
        let position = Position { file, line: line.number };
        let words = line.words().map_err(|fault| vec![Problem::new(line.line(fault.at), fault.message)])?;
        let Some((directive, words)) = words.split_first() else {
            return Ok(());
        };
        let known = |names: &[&'static str]| {
            names.iter().copied().find(|known| known.eq_ignore_ascii_case(&directive.text))
        };
        if let Some(directive) = known(NAMES) {
            return self.directive(directive, words, position, name, depth);
        }
        if let Some(directive) = known(setting::NAMES) {
            let values: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            let line = words.first().map_or(position.line, |word| word.line(0));
            let note = setting::apply(&mut self.configuration.settings, &mut self.seen, directive, &values)
                .map_err(|message| one(line, message))?;
            self.note(position, note);
            return Ok(());
        }
        let foreign =
            foreign::DIRECTIVES.iter().find(|(known, _)| known.eq_ignore_ascii_case(&directive.text));
        if let Some((directive, fate)) = foreign {
            let is_off = matches!(words, [value] if value.text.eq_ignore_ascii_case("off"));
            return match fate {
                Fate::WithoutEffect(reason) => {
                    self.note(position, Some(reason));
                    Ok(())
                }
                Fate::OnlyOff(_) if is_off => Ok(()),
                Fate::OnlyOff(reason) => {
                    Err(one(position.line, format!("{directive} is not supported, only Off: {reason}")))
                }
                Fate::Refused(reason) => {
                    Err(one(position.line, format!("{directive} is not supported: {reason}")))
                }
            };
        }
        let all = NAMES.iter().chain(setting::NAMES).copied();
        let all = all.chain(foreign::DIRECTIVES.iter().map(|(known, _)| *known));
        Err(one(position.line, unknown("directive", &directive.text, all)))
    }

    fn directive(
        &mut self,
        name: &str,
        words: &[Word],
        position: Position,
        file: &str,
        depth: usize,
    ) -> Outcome {
        match name {
            "SecRule" | "SecAction" => return self.rule(name == "SecAction", words, position, file),
            "SecUnicodeMapFile" => return self.unicode_map(words, position, file),
            "Include" | "IncludeOptional" => {
                let [path] = words else {
                    return Err(one(
                        position.line,
                        format!("{name} takes one path, not {} words", words.len()),
                    ));
                };
                let is_optional = name == "IncludeOptional";
                let result = self.include(&path.text, file, depth + 1, is_optional);
                return result.map_err(|message| one(position.line, message));
            }
            _ => {}
        }
        if let Some(problem) = self.unfinished_chain() {
            return Err(vec![problem]);
        }
        self.chain = Chain::Closed;
        if self.configuration.directives.len() >= DIRECTIVES_MAX + self.rules {
            return Err(one(position.line, format!("more than {DIRECTIVES_MAX} directives beside rules")));
        }
        let directive = match (name, words) {
            ("SecDefaultAction", [actions]) => {
                let default = rule::default_action(actions, position)?;
                if self.defaults.contains(&default.phase) {
                    let message = format!("phase {} has its SecDefaultAction already", default.phase as u8);
                    return Err(one(position.line, message));
                }
                self.defaults.push(default.phase);
                Directive::DefaultAction(default)
            }
            _ => change::read(name, words, position.line)?,
        };
        self.configuration.directives.push(directive);
        Ok(())
    }

    fn rule(&mut self, is_action: bool, words: &[Word], position: Position, file: &str) -> Outcome {
        let chain = std::mem::replace(&mut self.chain, Chain::Closed);
        let is_link = chain != Chain::Closed;
        let Reading { rule, is_chain, mut problems, notes } = rule::read(is_action, words, position, is_link);
        for note in notes {
            self.note(position, Some(note));
        }
        if let Some(call) = &rule.operator
            && let Err(message) = self.data(call, file)
        {
            problems.push(Problem::new(position.line, message));
        }
        self.rules += 1;
        if self.rules > RULES_MAX {
            problems.push(Problem::new(position.line, format!("more than {RULES_MAX} rules")));
        }
        let first = match chain {
            Chain::Closed => position.line,
            Chain::Open(line) | Chain::Lost(line) => line,
        };
        let is_lost = !problems.is_empty() || matches!(chain, Chain::Lost(_));
        if is_chain {
            self.chain = if is_lost { Chain::Lost(first) } else { Chain::Open(first) };
        }
        if is_lost {
            return if problems.is_empty() { Ok(()) } else { Err(problems) };
        }
        if !is_link {
            self.configuration.directives.push(Directive::Rule(Box::new(rule)));
            return Ok(());
        }
        if let Some(Directive::Rule(head)) = self.configuration.directives.last_mut() {
            if head.links.len() >= CHAIN_LINKS_MAX {
                return Err(one(position.line, format!("the chain has more than {CHAIN_LINKS_MAX} links")));
            }
            head.links.push(rule);
        }
        Ok(())
    }

    /// Reads the files that an operator names.
    fn data(&mut self, call: &super::ast::OperatorCall, file: &str) -> Result<(), String> {
        for path in operator::files(call)? {
            if candidates(file, path).iter().any(|candidate| self.configuration.data.contains_key(candidate))
            {
                continue;
            }
            let (found, bytes) = self.fetch(path, file).map_err(Unread::message)?;
            self.configuration.data.insert(found, bytes);
        }
        Ok(())
    }

    fn unicode_map(&mut self, words: &[Word], position: Position, file: &str) -> Outcome {
        let problem = |message: String| one(position.line, message);
        let [path, page] = words else {
            return Err(problem(format!(
                "SecUnicodeMapFile takes a file and a code page, not {} words",
                words.len()
            )));
        };
        let page: u32 = action::number("the code page", &page.text, 1, 65_535)
            .map_err(|message| one(page.line(0), message))?;
        let (_, bytes) = self.fetch(&path.text, file).map_err(|reason| problem(reason.message()))?;
        match unicode_map::parse(&bytes, page) {
            Some(map) => {
                self.configuration.settings.unicode_map = Some(std::sync::Arc::new(map));
                Ok(())
            }
            None => Err(problem(format!("{} has no code page {page}", quoted(&path.text)))),
        }
    }

    fn note(&mut self, position: Position, note: Option<&'static str>) {
        let notes = &mut self.configuration.settings.without_effect;
        if let Some(note) = note.filter(|_| notes.len() < NOTES_MAX) {
            notes.push((position, note));
        }
    }
}

pub(super) fn one(line: u32, message: impl Into<String>) -> Vec<Problem> {
    vec![Problem::new(line, message)]
}
