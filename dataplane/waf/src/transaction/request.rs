//! Phases 1 and 2: what a request holds.
//!
//! Owns: the variables of the request line, its fields, cookies, arguments and body.
//! Sources: ModSecurity 3 (`transaction.cc`) and its reference manual for what each variable holds.

use core::net::IpAddr;
use core::ops::ControlFlow;
use std::sync::Arc;

use super::data::{Data, Store};
use super::outcome::{Interruption, Limit};
use super::value::ValueId;
use super::{Evaluator, Transaction};
use crate::body::{self, Event, cookies, json, multipart, urlencoded, xml};
use crate::ruleset::Site;
use crate::seclang::ast::{BodyProcessor, EngineMode, Phase};
use crate::seclang::settings::LimitAction;
use crate::variable::Variable;

/// Most fields of a head that are looked at: above what the node accepts.
const FIELDS_MAX: usize = 1_024;

/// `REQBODY_ERROR_MSG` of a body whose part that is no file is longer than may be.
const TOO_LONG_WITHOUT_FILES: &[u8] = b"body without its files is longer than its limit";

/// Who speaks with whom.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The client, as a trusted proxy names it.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The address that the client spoke to.
    pub server: IpAddr,
    /// Its port.
    pub server_port: u16,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// `GET` and the like.
    pub method: &'a [u8],
    /// The target as sent.
    pub target: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a [u8],
}

impl Evaluator {
    /// Begins a transaction. `id` is what logs call it; times are the caller's: seconds since 1970, and a clock in
    /// microseconds that only goes up.
    pub fn begin(
        &mut self,
        tx: &mut Transaction,
        site: Option<Arc<Site>>,
        connection: &Connection,
        id: &[u8],
        time_unix_s: u64,
        now_us: u64,
    ) {
        self.serial += 1;
        tx.serial = self.serial;
        tx.data.reset(&self.set.names, self.budget.data_bytes_max);
        tx.outcome.reset(&self.set);
        let data = &mut tx.data;
        data.time_unix_s = time_unix_s;
        (data.started_us, data.now_us) = (now_us, now_us);
        data.set_text(Variable::UniqueId, id);
        let mut text = [0; 64];
        for (variable, address) in
            [(Variable::RemoteAddr, connection.client), (Variable::ServerAddr, connection.server)]
        {
            let written = address_text(address, &mut text);
            data.set_text(variable, written);
        }
        data.set_single(Variable::RemoteHost, data.single(Variable::RemoteAddr));
        data.set_number(Variable::RemotePort, u64::from(connection.client_port));
        data.set_number(Variable::ServerPort, u64::from(connection.server_port));
        let zero = data.values.add(b"0");
        for variable in FLAGS {
            data.set_single(*variable, zero);
        }
        if let Some(site) = &site {
            if let Some(mode) = site.engine {
                tx.outcome.engine = mode;
            }
            for (name, value) in &site.variables {
                let number = super::data::exact_number(value);
                let value = tx.data.values.add(value);
                let held = number.map_or(super::data::TxValue::Text(value), super::data::TxValue::Number);
                match self.set.names.find(name) {
                    Some(id) => tx.data.set_tx(id, held),
                    None => tx.data.set_member(Store::Tx, name, Some(value)),
                }
            }
        }
        tx.site = site;
    }

    /// Phase 1: the head of the request.
    pub fn request_head<'f>(
        &mut self,
        tx: &mut Transaction,
        head: &RequestHead<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Option<Interruption> {
        if tx.outcome.engine == EngineMode::Off {
            return None;
        }
        self.request_line(&mut tx.data, head);
        for (name, value) in fields.take(FIELDS_MAX) {
            self.request_field(&mut tx.data, name, value);
        }
        self.arguments(tx, Source::Query);
        tx.outcome.phase_now = Phase::RequestHeaders as u8;
        self.run(tx, Phase::RequestHeaders)
    }

    /// How many bytes of the body rules want to see; `None`: none of it.
    #[must_use]
    pub fn wants_request_body(&self, tx: &Transaction) -> Option<u64> {
        let outcome = &tx.outcome;
        let is_wanted = outcome.engine != EngineMode::Off
            && outcome.request_body_access
            && outcome.runs(Phase::RequestBody);
        is_wanted.then_some(outcome.request_body_bytes_max)
    }

    /// Phase 2: the body, whole, or its first bytes when it is longer than wanted (`is_whole` false). Also called for
    /// requests without a body, and for those whose body is not wanted (with an empty one).
    pub fn request_body(
        &mut self,
        tx: &mut Transaction,
        bytes: &[u8],
        is_whole: bool,
    ) -> Option<Interruption> {
        if tx.outcome.engine == EngineMode::Off || !tx.outcome.runs(Phase::RequestBody) {
            return None;
        }
        tx.outcome.phase_now = Phase::RequestBody as u8;
        if !is_whole {
            tx.outcome.limits.insert(Limit::RequestBody);
            tx.data.set_text(Variable::InboundDataError, b"1");
        }
        if tx.outcome.request_body_access && !bytes.is_empty() {
            self.take_body(tx, bytes);
        }
        self.run(tx, Phase::RequestBody)
    }

    /// Whether a body beyond the limit passes, judged by its first bytes.
    #[must_use]
    pub fn passes_longer_request(&self, tx: &Transaction) -> bool {
        self.set.settings.request_body_limit_action == LimitAction::ProcessPartial
            || tx.outcome.engine == EngineMode::DetectionOnly
    }

    fn request_line(&mut self, data: &mut Data, head: &RequestHead<'_>) {
        data.set_text(Variable::RequestMethod, head.method);
        data.set_text(Variable::RequestProtocol, head.protocol);
        let line = data.values.add_parts(&[head.method, b" ", head.target, b" ", head.protocol]);
        data.set_single(Variable::RequestLine, line);
        data.set_text(Variable::RequestUriRaw, head.target);
        let local = without_authority(head.target);
        data.set_text(Variable::RequestUri, local);
        let (path, query) = match memchr::memchr(b'?', local) {
            Some(at) => (&local[..at], &local[at + 1..]),
            None => (local, b"".as_slice()),
        };
        data.set_text(Variable::QueryString, query);
        let mut decoded = core::mem::take(&mut self.space.buffer);
        decode(path, &mut decoded);
        data.set_text(Variable::RequestFilename, &decoded);
        data.set_single(Variable::PathInfo, data.single(Variable::RequestFilename));
        let name = decoded.iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at + 1);
        data.set_text(Variable::RequestBasename, &decoded[name..]);
        self.space.buffer = decoded;
    }

    fn request_field(&mut self, data: &mut Data, name: &[u8], value: &[u8]) {
        data.add_text(Store::RequestHeaders, name, value);
        if name.eq_ignore_ascii_case(b"cookie") {
            let _ = cookies::parse(value, &mut |event| {
                if let Event::Cookie { name, value } = event {
                    data.add_text(Store::RequestCookies, name, value);
                }
                ControlFlow::Continue(())
            });
        } else if name.eq_ignore_ascii_case(b"content-type") {
            if begins_with(value, b"application/x-www-form-urlencoded") {
                data.processor = Some(BodyProcessor::UrlEncoded);
            } else if begins_with(value, b"multipart/form-data") {
                data.processor = Some(BodyProcessor::Multipart);
            }
            if let Some(processor) = data.processor {
                data.set_text(Variable::ReqbodyProcessor, processor.name().as_bytes());
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            data.set_text(Variable::ServerName, without_port(value));
        } else if name.eq_ignore_ascii_case(b"authorization") {
            let kind = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            data.set_text(Variable::AuthType, kind);
        }
    }

    fn take_body(&mut self, tx: &mut Transaction, bytes: &[u8]) {
        tx.data.body = tx.data.values.add(bytes);
        // A rule of phase 1 may have asked for it, when there was no body.
        tx.data.set_single(Variable::FullRequest, ValueId::EMPTY);
        tx.data.set_number(Variable::RequestBodyLength, bytes.len() as u64);
        let processor = tx.data.processor;
        // As ModSecurity 2: only what rules read as one text is there as one text.
        if processor == Some(BodyProcessor::UrlEncoded) || tx.outcome.force_request_body {
            tx.data.set_single(Variable::RequestBody, tx.data.body);
        }
        let error = match processor {
            Some(BodyProcessor::UrlEncoded) => self.arguments(tx, Source::Form),
            Some(BodyProcessor::Json) => self.json(tx, bytes),
            Some(BodyProcessor::Xml) => self.xml(tx, bytes),
            Some(BodyProcessor::Multipart) => self.multipart(tx, bytes),
            None => None,
        };
        let without_files = match processor {
            Some(BodyProcessor::Multipart) => [Store::MultipartPartHeaders, Store::ArgsPost]
                .iter()
                .flat_map(|store| tx.data.members(*store))
                .map(|member| tx.data.values.get(member.value).len())
                .sum(),
            _ => bytes.len(),
        };
        if without_files as u64 > self.set.settings.request_body_no_files_bytes_max {
            tx.data.set_text(Variable::ReqbodyError, b"1");
            tx.data.set_text(Variable::ReqbodyErrorMsg, TOO_LONG_WITHOUT_FILES);
        }
        if let Some(error) = error
            && error.message != body::LIMIT_REACHED
        {
            let text = error.to_string();
            for variable in [Variable::ReqbodyError, Variable::ReqbodyProcessorError] {
                tx.data.set_text(variable, b"1");
            }
            for variable in [Variable::ReqbodyErrorMsg, Variable::ReqbodyProcessorErrorMsg] {
                tx.data.set_text(variable, text.as_bytes());
            }
        }
    }

    /// Arguments of the query or of a form.
    fn arguments(&mut self, tx: &mut Transaction, source: Source) -> Option<body::BodyError> {
        let (text, store) = match source {
            Source::Query => (tx.data.single(Variable::QueryString), Store::ArgsGet),
            Source::Form => (tx.data.body, Store::ArgsPost),
        };
        let text = tx.data.values.get(text).copied_into(&mut self.space.text);
        let mut report = urlencoded::Report::default();
        let separator = self.set.settings.argument_separator;
        let max = self.set.settings.arguments_max as usize;
        let data = &mut tx.data;
        let mut scratch = core::mem::take(&mut self.space.body);
        let result = urlencoded::parse(&text, separator, &mut scratch, &mut report, &mut |event| {
            if let Event::Argument { name, value } = event {
                return argument(data, store, max, name, value);
            }
            ControlFlow::Continue(())
        });
        self.space.body = scratch;
        self.space.text = text;
        if report.is_encoding_invalid {
            tx.data.set_text(Variable::UrlencodedError, b"1");
        }
        self.ended(tx, result.err())
    }

    fn json(&mut self, tx: &mut Transaction, bytes: &[u8]) -> Option<body::BodyError> {
        let max = self.set.settings.arguments_max as usize;
        let depth = self.set.settings.request_body_json_depth_max as usize;
        let data = &mut tx.data;
        let result = json::parse(bytes, depth, &mut self.space.body, &mut |event| {
            if let Event::Argument { name, value } = event {
                return argument(data, Store::ArgsPost, max, name, value);
            }
            ControlFlow::Continue(())
        });
        self.ended(tx, result.err())
    }

    fn xml(&mut self, tx: &mut Transaction, bytes: &[u8]) -> Option<body::BodyError> {
        let max = self.set.settings.arguments_max as usize;
        let data = &mut tx.data;
        let content = data.values.add(b"/*");
        let attributes = data.values.add(b"//@*");
        let result = xml::parse(bytes, &mut self.space.body, &mut |event| {
            match event {
                Event::XmlContent(text) => {
                    let value = data.values.add(text);
                    data.add(Store::XmlContent, content, value);
                }
                Event::XmlAttribute(text) => {
                    if data.members(Store::XmlAttributes).len() >= max {
                        return ControlFlow::Break(());
                    }
                    let value = data.values.add(text);
                    data.add(Store::XmlAttributes, attributes, value);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        self.ended(tx, result.err())
    }

    fn multipart(&mut self, tx: &mut Transaction, bytes: &[u8]) -> Option<body::BodyError> {
        let content_type = tx.data.find(Store::RequestHeaders, b"content-type").unwrap_or(ValueId::EMPTY);
        let content_type = tx.data.values.get(content_type).copied_into(&mut self.space.text);
        let max = self.set.settings.arguments_max as usize;
        let files_max = self.set.settings.upload_files_max as usize;
        let data = &mut tx.data;
        let mut report = multipart::Report::default();
        let scratch = &mut self.space.body;
        let result = multipart::parse(&content_type, bytes, files_max, scratch, &mut report, &mut |event| {
            match event {
                Event::Argument { name, value } => return argument(data, Store::ArgsPost, max, name, value),
                Event::PartName(name) => data.add_text(Store::MultipartName, name, name),
                Event::PartFilename(name) => data.add_text(Store::MultipartFilename, name, name),
                Event::PartHeader { part, line } => data.add_text(Store::MultipartPartHeaders, part, line),
                Event::File { field, filename, content } => {
                    data.add_text(Store::Files, field, filename);
                    let size = data.number(content.len() as u64);
                    let name = data.values.add(field);
                    data.add(Store::FilesSizes, name, size);
                    data.files_bytes += content.len() as u64;
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        self.space.text = content_type;
        for variable in FLAGS {
            if let Some(value) = report.value(*variable) {
                tx.data.set_number(*variable, u64::from(value));
            }
        }
        self.ended(tx, result.err())
    }

    /// Notes a bound that ended a parser.
    fn ended(&mut self, tx: &mut Transaction, error: Option<body::BodyError>) -> Option<body::BodyError> {
        if error.is_some_and(|error| error.message == body::LIMIT_REACHED) {
            tx.outcome.limits.insert(Limit::Arguments);
            tx.data.set_text(Variable::ReqbodyError, b"1");
            tx.data.set_text(Variable::ReqbodyErrorMsg, body::LIMIT_REACHED.as_bytes());
        }
        error
    }
}

/// Where arguments come from.
#[derive(Clone, Copy)]
enum Source {
    Query,
    Form,
}

fn argument(data: &mut Data, store: Store, max: usize, name: &[u8], value: &[u8]) -> ControlFlow<()> {
    if data.members(Store::ArgsGet).len() + data.members(Store::ArgsPost).len() >= max {
        return ControlFlow::Break(());
    }
    data.arguments_bytes += name.len() + value.len();
    data.add_text(store, name, value);
    ControlFlow::Continue(())
}

/// Variables that are 0 unless something is wrong.
const FLAGS: &[Variable] = &[
    Variable::InboundDataError,
    Variable::OutboundDataError,
    Variable::ReqbodyError,
    Variable::ReqbodyProcessorError,
    Variable::UrlencodedError,
    Variable::RequestBodyLength,
    Variable::MultipartCrlfLfLines,
    Variable::MultipartStrictError,
    Variable::MultipartBoundaryQuoted,
    Variable::MultipartBoundaryWhitespace,
    Variable::MultipartDataAfter,
    Variable::MultipartDataBefore,
    Variable::MultipartFileLimitExceeded,
    Variable::MultipartHeaderFolding,
    Variable::MultipartInvalidHeaderFolding,
    Variable::MultipartInvalidPart,
    Variable::MultipartInvalidQuoting,
    Variable::MultipartLfLine,
    Variable::MultipartMissingSemicolon,
    Variable::MultipartUnmatchedBoundary,
];

/// Takes a copy into a buffer that is used again.
trait CopiedInto {
    fn copied_into(&self, buffer: &mut Vec<u8>) -> Vec<u8>;
}

impl CopiedInto for [u8] {
    fn copied_into(&self, buffer: &mut Vec<u8>) -> Vec<u8> {
        let mut copy = core::mem::take(buffer);
        copy.clear();
        copy.extend_from_slice(self);
        copy
    }
}

/// Whether the text begins so, in any case.
fn begins_with(text: &[u8], beginning: &[u8]) -> bool {
    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

/// The target without scheme and host, which a request to a proxy may carry.
fn without_authority(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme) = memchr::memmem::find(target, b"://") else { return target };
    let rest = &target[scheme + 3..];
    match memchr::memchr(b'/', rest) {
        Some(at) => &rest[at..],
        None => target,
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'[') {
        return memchr::memchr(b']', host).map_or(host, |end| &host[..=end]);
    }
    memchr::memchr(b':', host).map_or(host, |colon| &host[..colon])
}

/// Percent-decoding of a path: `+` stays.
fn decode(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let digit = |place: usize| rest.get(at + place).and_then(|byte| (*byte as char).to_digit(16));
        match (digit(1), digit(2)) {
            (Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &rest[at + 3..];
            }
            _ => {
                out.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

/// An address as text, without an allocation.
fn address_text(address: IpAddr, text: &mut [u8; 64]) -> &[u8] {
    use core::fmt::Write as _;
    struct Text<'a>(&'a mut [u8; 64], usize);
    impl core::fmt::Write for Text<'_> {
        fn write_str(&mut self, piece: &str) -> core::fmt::Result {
            let end = self.1 + piece.len();
            let place = self.0.get_mut(self.1..end).ok_or(core::fmt::Error)?;
            place.copy_from_slice(piece.as_bytes());
            self.1 = end;
            Ok(())
        }
    }
    let mut written = Text(text, 0);
    // 64 bytes hold the longest address.
    let _ = write!(written, "{}", address.to_canonical());
    let Text(text, len) = written;
    &text[..len]
}
