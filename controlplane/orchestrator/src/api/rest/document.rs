//! The OpenAPI document: what every operation has in common.
//!
//! Owns: head, security, errors of all operations. Does not own: the operations, which stand at their handlers.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
    Tag,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::{MEDIA_TYPE, Problem};

/// Statuses of errors, which every operation may answer with.
const ERRORS: [(&str, &str); 13] = [
    ("400", "The request cannot be read."),
    ("401", "No valid token or certificate."),
    ("403", "The scope is missing, or the request comes from a page of another origin."),
    ("404", "There is no such thing."),
    ("405", "The path does not know the method."),
    ("409", "Another revision by now, another request with the same key, or not possible in this state."),
    ("413", "The body is too long."),
    ("415", "The body is not of the right media type."),
    ("422", "The request is readable and wrong; each mistake is named."),
    ("429", "Too many requests or failed logins, or a limit is reached."),
    ("500", "A defect of the orchestrator."),
    ("503", "The store cannot be written, or too many requests at the same time."),
    ("504", "No answer in time; what was begun is finished."),
];

/// Completes the document that the routes gave.
pub(super) fn complete(document: &mut OpenApi) {
    document.info = InfoBuilder::new()
        .title("SecBeat orchestrator")
        .version("1")
        .description(Some("The control plane of a SecBeat fleet: policy, bans, nodes, events, audit."))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    document.tags = Some(
        [
            ("nodes", "The fleet's nodes, and orders to them."),
            ("policies", "What is wanted: resources, revisions, rollouts."),
            ("bans", "Bans of the whole fleet."),
            ("events", "Security events, and who attacks."),
            ("access", "Tokens and the audit log."),
            ("service", "The orchestrator itself."),
        ]
        .map(|(name, description)| {
            let mut tag = Tag::new(name);
            tag.description = Some(description.into());
            tag
        })
        .into(),
    );
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearerAuth", bearer);
    for (status, description) in ERRORS {
        components.responses.insert(name_of(status), RefOr::T(problem_response(description)));
    }
    let operations = document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let is_open = path == "/health" || path == "/api/v1/openapi.json";
        [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]
            .into_iter()
            .filter_map(Option::as_mut)
            .map(move |operation| (is_open, operation))
    });
    for (is_open, operation) in operations {
        complete_operation(operation, is_open);
    }
}

fn complete_operation(operation: &mut Operation, is_open: bool) {
    if !is_open {
        operation.security = Some(vec![SecurityRequirement::new("bearerAuth", Vec::<String>::new())]);
    }
    for (status, _) in ERRORS {
        let reference = RefOr::Ref(Ref::from_response_name(name_of(status)));
        operation.responses.responses.entry(status.into()).or_insert(reference);
    }
}

fn problem_response(description: &str) -> Response {
    let schema = Ref::from_schema_name(Problem::name());
    ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

fn name_of(status: &str) -> String {
    format!("Problem{status}")
}
