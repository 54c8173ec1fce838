//! What is promised to older and newer peers: `descriptor.bin` against the `.proto` files.
//!
//! The committed descriptor is what peers of earlier versions speak. Nothing of it may change or vanish: a field that
//! goes leaves its number and name `reserved`. What is new must be committed: `UPDATE_DESCRIPTOR=1 cargo test -p
//! secbeat-proto --test compatibility` renews the file, and refuses to while a promise is broken.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

/// Decoded, our own package only, without comments: those may change.
fn decode(bytes: &[u8]) -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(bytes).unwrap();
    set.file.retain(|file| file.package().starts_with("secbeat."));
    set.file.sort_by(|a, b| a.name().cmp(b.name()));
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

/// All messages, enums and services by full name.
#[derive(Default)]
struct Names<'s> {
    messages: BTreeMap<String, &'s DescriptorProto>,
    enums: BTreeMap<String, &'s EnumDescriptorProto>,
    services: BTreeMap<String, &'s ServiceDescriptorProto>,
}

impl<'s> Names<'s> {
    fn of(set: &'s FileDescriptorSet) -> Self {
        let mut names = Self::default();
        for file in &set.file {
            names.note(file.package(), &file.message_type, &file.enum_type);
            for service in &file.service {
                names.services.insert(format!("{}.{}", file.package(), service.name()), service);
            }
        }
        names
    }

    fn note(&mut self, within: &str, messages: &'s [DescriptorProto], enums: &'s [EnumDescriptorProto]) {
        for one in enums {
            self.enums.insert(format!("{within}.{}", one.name()), one);
        }
        for message in messages {
            let name = format!("{within}.{}", message.name());
            self.note(&name, &message.nested_type, &message.enum_type);
            self.messages.insert(name, message);
        }
    }
}

/// What of `old` is broken in `new`.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (Names::of(old), Names::of(new));
    let mut found = Vec::new();
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            None => found.push(format!("message {name} is gone")),
            Some(other) => fields(name, message, other, &mut found),
        }
    }
    for (name, one) in &old.enums {
        match new.enums.get(name) {
            None => found.push(format!("enum {name} is gone")),
            Some(other) => values(name, one, other, &mut found),
        }
    }
    for (name, service) in &old.services {
        let other = new.services.get(name).copied();
        for method in &service.method {
            let same = |other: &ServiceDescriptorProto| {
                other.method.iter().any(|other| {
                    (other.name(), other.input_type(), other.output_type())
                        == (method.name(), method.input_type(), method.output_type())
                        && (other.client_streaming(), other.server_streaming())
                            == (method.client_streaming(), method.server_streaming())
                })
            };
            if !other.is_some_and(same) {
                found.push(format!("method {name}.{} is gone or has other messages", method.name()));
            }
        }
    }
    found
}

fn shape(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let index = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    let oneof = index.map_or("", |oneof| oneof.name());
    let kind = Type::try_from(field.r#type.unwrap_or(0)).map_or("none", |kind| kind.as_str_name());
    format!("{} {kind} {} {:?} oneof `{oneof}`", field.name(), field.type_name(), field.label())
}

fn fields(name: &str, old: &DescriptorProto, new: &DescriptorProto, found: &mut Vec<String>) {
    for field in &old.field {
        let number = field.number();
        match new.field.iter().find(|other| other.number() == number) {
            Some(other) if shape(old, field) == shape(new, other) => {}
            Some(other) => {
                let (old, new) = (shape(old, field), shape(new, other));
                found.push(format!("field {number} of {name} was `{old}` and is `{new}`"));
            }
            None => {
                let has_number = new.reserved_range.iter().any(|r| (r.start()..r.end()).contains(&number));
                if !has_number || !new.reserved_name.iter().any(|reserved| reserved == field.name()) {
                    let own = field.name();
                    found.push(format!(
                        "field {number} `{own}` of {name} is gone: reserve its number and name"
                    ));
                }
            }
        }
    }
    // What was reserved stays reserved.
    for range in &old.reserved_range {
        for number in range.start()..range.end().min(range.start() + 1_000) {
            if !new.reserved_range.iter().any(|r| (r.start()..r.end()).contains(&number)) {
                found.push(format!("number {number} of {name} was reserved and is not any more"));
            }
        }
    }
}

fn values(name: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto, found: &mut Vec<String>) {
    for value in &old.value {
        let number = value.number();
        let same = new.value.iter().any(|other| (other.name(), other.number()) == (value.name(), number));
        let is_reserved = new.reserved_range.iter().any(|r| (r.start()..=r.end()).contains(&number))
            && new.reserved_name.iter().any(|reserved| reserved == value.name());
        if !same && !is_reserved {
            found.push(format!(
                "value {number} `{}` of {name} changed or is gone: reserve both",
                value.name()
            ));
        }
    }
}

fn committed_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("descriptor.bin")
}

#[test]
fn nothing_that_was_promised_changed_and_what_is_new_is_committed() {
    let built = decode(secbeat_proto::DESCRIPTOR);
    let bytes = fs::read(committed_path()).unwrap_or_default();
    let broken = broken(&decode(&bytes), &built);
    assert!(broken.is_empty(), "older peers would misread this:\n{}", broken.join("\n"));
    if std::env::var_os("UPDATE_DESCRIPTOR").is_some() {
        fs::write(committed_path(), built.encode_to_vec()).unwrap();
        return;
    }
    assert!(
        bytes == built.encode_to_vec(),
        "the .proto files say more than descriptor.bin; if that is what you want: UPDATE_DESCRIPTOR=1 cargo test -p \
         secbeat-proto --test compatibility"
    );
}

/// The built descriptor after a change of one message.
fn changed(message: &str, change: impl FnOnce(&mut DescriptorProto)) -> Vec<String> {
    let old = decode(secbeat_proto::DESCRIPTOR);
    let mut new = old.clone();
    let found = new.file.iter_mut().flat_map(|file| &mut file.message_type).find(|one| one.name() == message);
    change(found.unwrap());
    broken(&old, &new)
}

#[test]
fn each_way_to_break_a_promise_is_found() {
    assert_eq!(changed("ResourceKey", |_| {}), Vec::<String>::new());
    let one = |found: Vec<String>, wanted: &str| {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(wanted), "{found:?}");
    };
    one(
        changed("ResourceKey", |m| m.field[1].name = Some("title".into())),
        "field 2 of secbeat.v1.ResourceKey was",
    );
    one(changed("ResourceKey", |m| m.field[1].set_type(Type::Bytes)), "is `name TYPE_BYTES");
    one(changed("Mutation", |m| m.field[1].number = Some(9)), "field 2 `expected_revision`");
    one(
        changed("ResourceUpdate", |m| m.field[3].oneof_index = None),
        "field 4 of secbeat.v1.ResourceUpdate was",
    );
    one(changed("Mutation", |m| drop(m.field.remove(3))), "reserve its number and name");
    one(changed("RulePatch", |m| drop(m.nested_type.remove(0))), "message secbeat.v1.RulePatch.Rule is gone");
    let reserved = changed("Mutation", |message| {
        let field = message.field.remove(3);
        message.reserved_name.push(field.name().into());
        let range = prost_types::descriptor_proto::ReservedRange {
            start: field.number,
            end: Some(field.number() + 1),
        };
        message.reserved_range.push(range);
    });
    assert_eq!(reserved, Vec::<String>::new());
    let added = changed("Mutation", |message| {
        let mut field = message.field[0].clone();
        (field.number, field.name) = (Some(77), Some("more".into()));
        message.field.push(field);
    });
    assert_eq!(added, Vec::<String>::new());
}

#[test]
fn change_of_an_enum_value_or_a_method_is_found() {
    let old = decode(secbeat_proto::DESCRIPTOR);
    let mut new = old.clone();
    let kind =
        new.file.iter_mut().flat_map(|file| &mut file.enum_type).find(|one| one.name() == "ResourceKind");
    kind.unwrap().value[1].number = Some(50);
    assert!(broken(&old, &new)[0].contains("RESOURCE_KIND_LISTENER"));
    let mut new = old.clone();
    let service =
        new.file.iter_mut().flat_map(|file| &mut file.service).find(|one| one.name() == "NodeService");
    service.unwrap().method[0].client_streaming = Some(false);
    assert!(broken(&old, &new)[0].contains("NodeService.Attach"));
}
