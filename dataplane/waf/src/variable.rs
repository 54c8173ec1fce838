//! The names of what a rule can look at.
//!
//! Owns: [`Variable`], its names as SecLang writes them, and whether it is a collection. Does not own: values; a
//! transaction fills them.

macro_rules! variables {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// What a rule can look at (ModSecurity reference manual, "Variables").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Variable {
            $($(#[$doc])* $name,)*
        }

        impl Variable {
            /// Every variable.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As SecLang writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Whether it holds names and values, or one value.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }
        }
    };
}

/// Whether a variable has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One value, or none.
    Single,
    /// Names with values; a rule may select members.
    Collection,
}

variables! {
    /// All arguments, of the query and of the body.
    Args = "ARGS", Collection;
    /// Bytes of all names and values of arguments.
    ArgsCombinedSize = "ARGS_COMBINED_SIZE", Single;
    /// Arguments of the query.
    ArgsGet = "ARGS_GET", Collection;
    /// Names of the arguments of the query.
    ArgsGetNames = "ARGS_GET_NAMES", Collection;
    /// Names of all arguments.
    ArgsNames = "ARGS_NAMES", Collection;
    /// Arguments of the body.
    ArgsPost = "ARGS_POST", Collection;
    /// Names of the arguments of the body.
    ArgsPostNames = "ARGS_POST_NAMES", Collection;
    /// Method of `Authorization`.
    AuthType = "AUTH_TYPE", Single;
    /// Time since the transaction began, microseconds.
    Duration = "DURATION", Single;
    /// What `setenv` set.
    Env = "ENV", Collection;
    /// File names of a multipart body, by name of the field.
    Files = "FILES", Collection;
    /// Bytes of all uploaded files.
    FilesCombinedSize = "FILES_COMBINED_SIZE", Single;
    /// Names of the fields that upload files.
    FilesNames = "FILES_NAMES", Collection;
    /// Bytes of each uploaded file, by name of the field.
    FilesSizes = "FILES_SIZES", Collection;
    /// Temporary files; always empty, since uploads are not written to disk.
    FilesTmpnames = "FILES_TMPNAMES", Collection;
    /// Contents of temporary files; always empty, see `FILES_TMPNAMES`.
    FilesTmpContent = "FILES_TMP_CONTENT", Collection;
    /// Request line, fields and body as one text.
    FullRequest = "FULL_REQUEST", Single;
    /// Bytes of `FULL_REQUEST`.
    FullRequestLength = "FULL_REQUEST_LENGTH", Single;
    /// What `@geoLookup` found.
    Geo = "GEO", Collection;
    /// The persistent collection of the whole node.
    Global = "GLOBAL", Collection;
    /// The persistent collection of a source.
    Ip = "IP", Collection;
    /// The persistent collection of a resource.
    Resource = "RESOURCE", Collection;
    /// The persistent collection of a session.
    Session = "SESSION", Collection;
    /// The persistent collection of a user.
    User = "USER", Collection;
    /// Severity of the worst match so far: 0 is worst, 255 none.
    HighestSeverity = "HIGHEST_SEVERITY", Single;
    /// 1 when the request body is longer than its limit.
    InboundDataError = "INBOUND_DATA_ERROR", Single;
    /// The value that matched last.
    MatchedVar = "MATCHED_VAR", Single;
    /// The name of the value that matched last.
    MatchedVarName = "MATCHED_VAR_NAME", Single;
    /// All values that the current rule matched.
    MatchedVars = "MATCHED_VARS", Collection;
    /// The names of all values that the current rule matched.
    MatchedVarsNames = "MATCHED_VARS_NAMES", Collection;
    /// Version of the engine as a number.
    ModsecBuild = "MODSEC_BUILD", Single;
    /// 1 when a part of a multipart body has lines of both kinds.
    MultipartCrlfLfLines = "MULTIPART_CRLF_LF_LINES", Single;
    /// `filename` of the last part of a multipart body, by name of the field.
    MultipartFilename = "MULTIPART_FILENAME", Collection;
    /// `name` of the parts of a multipart body.
    MultipartName = "MULTIPART_NAME", Collection;
    /// Fields of the parts of a multipart body, by name of the part.
    MultipartPartHeaders = "MULTIPART_PART_HEADERS", Collection;
    /// 1 when any other `MULTIPART_` error variable is 1.
    MultipartStrictError = "MULTIPART_STRICT_ERROR", Single;
    /// 1 when a boundary is quoted.
    MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED", Single;
    /// 1 when a boundary is followed by white space.
    MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE", Single;
    /// 1 when there are bytes after the last boundary.
    MultipartDataAfter = "MULTIPART_DATA_AFTER", Single;
    /// 1 when there are bytes before the first boundary.
    MultipartDataBefore = "MULTIPART_DATA_BEFORE", Single;
    /// 1 when more files are uploaded than may be.
    MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED", Single;
    /// 1 when a field of a part is folded.
    MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING", Single;
    /// 1 when a field of a part is folded in a way that is not allowed.
    MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING", Single;
    /// 1 when a part is not valid.
    MultipartInvalidPart = "MULTIPART_INVALID_PART", Single;
    /// 1 when quoting is not valid.
    MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING", Single;
    /// 1 when a line ends with LF alone.
    MultipartLfLine = "MULTIPART_LF_LINE", Single;
    /// 1 when a parameter is not preceded by a semicolon.
    MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON", Single;
    /// Not 0 when something looks like a boundary and is none.
    MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY", Single;
    /// 1 when the response body is longer than its limit.
    OutboundDataError = "OUTBOUND_DATA_ERROR", Single;
    /// The part of the path after the file name; kept for old rules.
    PathInfo = "PATH_INFO", Single;
    /// The query as sent, without `?`.
    QueryString = "QUERY_STRING", Single;
    /// Address of the client.
    RemoteAddr = "REMOTE_ADDR", Single;
    /// The same: names are not looked up.
    RemoteHost = "REMOTE_HOST", Single;
    /// Port of the client.
    RemotePort = "REMOTE_PORT", Single;
    /// User of `Authorization`.
    RemoteUser = "REMOTE_USER", Single;
    /// 1 when the body could not be taken apart.
    ReqbodyError = "REQBODY_ERROR", Single;
    /// Why.
    ReqbodyErrorMsg = "REQBODY_ERROR_MSG", Single;
    /// What takes the body apart: `URLENCODED`, `MULTIPART`, `JSON`, `XML`.
    ReqbodyProcessor = "REQBODY_PROCESSOR", Single;
    /// 1 when that failed.
    ReqbodyProcessorError = "REQBODY_PROCESSOR_ERROR", Single;
    /// Why.
    ReqbodyProcessorErrorMsg = "REQBODY_PROCESSOR_ERROR_MSG", Single;
    /// The file name of the path.
    RequestBasename = "REQUEST_BASENAME", Single;
    /// The body.
    RequestBody = "REQUEST_BODY", Single;
    /// Bytes of the body.
    RequestBodyLength = "REQUEST_BODY_LENGTH", Single;
    /// Cookies.
    RequestCookies = "REQUEST_COOKIES", Collection;
    /// Names of cookies.
    RequestCookiesNames = "REQUEST_COOKIES_NAMES", Collection;
    /// The path, decoded.
    RequestFilename = "REQUEST_FILENAME", Single;
    /// Fields of the request.
    RequestHeaders = "REQUEST_HEADERS", Collection;
    /// Names of the fields.
    RequestHeadersNames = "REQUEST_HEADERS_NAMES", Collection;
    /// The request line.
    RequestLine = "REQUEST_LINE", Single;
    /// The method.
    RequestMethod = "REQUEST_METHOD", Single;
    /// `HTTP/1.1` or the like.
    RequestProtocol = "REQUEST_PROTOCOL", Single;
    /// Path and query, without scheme and host.
    RequestUri = "REQUEST_URI", Single;
    /// The target as sent.
    RequestUriRaw = "REQUEST_URI_RAW", Single;
    /// The body of the response.
    ResponseBody = "RESPONSE_BODY", Single;
    /// Its length, bytes.
    ResponseContentLength = "RESPONSE_CONTENT_LENGTH", Single;
    /// Its content type, without parameters.
    ResponseContentType = "RESPONSE_CONTENT_TYPE", Single;
    /// Fields of the response.
    ResponseHeaders = "RESPONSE_HEADERS", Collection;
    /// Their names.
    ResponseHeadersNames = "RESPONSE_HEADERS_NAMES", Collection;
    /// The response's protocol.
    ResponseProtocol = "RESPONSE_PROTOCOL", Single;
    /// The response's status.
    ResponseStatus = "RESPONSE_STATUS", Single;
    /// The current rule: `id`, `rev`, `severity`, `logdata`, `msg`.
    Rule = "RULE", Collection;
    /// Address of the node that the client spoke to.
    ServerAddr = "SERVER_ADDR", Single;
    /// Name of the server, from the request.
    ServerName = "SERVER_NAME", Single;
    /// Port of the node that the client spoke to.
    ServerPort = "SERVER_PORT", Single;
    /// What `setsid` set.
    Sessionid = "SESSIONID", Single;
    /// The response's status, as `RESPONSE_STATUS`.
    Status = "STATUS", Single;
    /// The response's status line.
    StatusLine = "STATUS_LINE", Single;
    /// Time of day, `HH:MM:SS`, UTC.
    Time = "TIME", Single;
    /// Day of the month, 1-31.
    TimeDay = "TIME_DAY", Single;
    /// Seconds since 1970.
    TimeEpoch = "TIME_EPOCH", Single;
    /// Hour, 0-23.
    TimeHour = "TIME_HOUR", Single;
    /// Minute, 0-59.
    TimeMin = "TIME_MIN", Single;
    /// Month, 0-11.
    TimeMon = "TIME_MON", Single;
    /// Second, 0-59.
    TimeSec = "TIME_SEC", Single;
    /// Day of the week, 0 (Sunday) - 6.
    TimeWday = "TIME_WDAY", Single;
    /// Year.
    TimeYear = "TIME_YEAR", Single;
    /// The transaction's own variables, and what a capture found (`TX:0` - `TX:9`).
    Tx = "TX", Collection;
    /// Identifier of the transaction.
    UniqueId = "UNIQUE_ID", Single;
    /// 1 when percent-encoding of the query or the form is not valid.
    UrlencodedError = "URLENCODED_ERROR", Single;
    /// What `setuid` set.
    Userid = "USERID", Single;
    /// What `SecWebAppId` set.
    Webappid = "WEBAPPID", Single;
    /// Errors of the web server; always empty.
    WebserverErrorLog = "WEBSERVER_ERROR_LOG", Single;
    /// Contents of an XML body: `/*` its text, `//@*` the values of its attributes.
    Xml = "XML", Collection;
}

impl Variable {
    /// By its name, in any case. `REMOTE_IP`-like aliases are not known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variable| variable.name().eq_ignore_ascii_case(name))
    }

    /// Whether its members outlive the transaction.
    #[must_use]
    pub const fn is_persistent(self) -> bool {
        matches!(self, Self::Global | Self::Ip | Self::Resource | Self::Session | Self::User)
    }
}
