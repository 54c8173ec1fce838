//! The list of all keys, made by the code that reads them.

use crate::layers::Layers;
use crate::node::NodeConfig;
use crate::reader::Document;

/// One key of the node's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its table as written in the file: `[server]`, `[[backends]]`.
    pub table: String,
    /// Its name.
    pub key: &'static str,
    /// `boolean`, `integer`, `duration`, `string`, `list`, `secret`.
    pub kind: &'static str,
    /// Its default as written in the file; empty when there is none; `required` when it must be given.
    pub default: String,
    /// What is allowed.
    pub allowed: String,
    /// The unit of a bare number; empty when it has none.
    pub unit: &'static str,
    /// One or two sentences.
    pub text: &'static str,
}

/// Every key, in the order of the documentation.
pub fn reference() -> Vec<KeyDoc> {
    let layers = Layers::default();
    let document = Document::new(&layers, None, true);
    let mut top = document.top();
    NodeConfig::read(&mut top);
    top.end();
    document.finish().0
}

/// The reference as a Markdown page, tables of keys with a heading per section.
pub fn markdown() -> String {
    use core::fmt::Write;
    let mut page = String::from(
        "# Configuration of a node\n\n\
         Generated from the code that reads it (`config::reference`); do not edit.\n\n\
         Precedence: command line, environment, file, defaults. `${NAME}` in a string stands for a variable of the\n\
         environment, `$$` for a dollar sign. Durations are numbers of the unit shown or strings such as `\"1h 30m\"`.\n\
         Unknown keys are errors.\n",
    );
    page.push_str(
        "\n| environment variable | key |\n|---|---|\n| `MITIGATION_CONFIG` | path of the file |\n",
    );
    for (name, key) in crate::layers::VARIABLES {
        let _ = writeln!(page, "| `{name}` | `{key}` |");
    }
    page.push_str("| `RUST_LOG` | overrides `logging.level`, may name single modules |\n");
    let mut table = String::new();
    for doc in reference() {
        if doc.table != table {
            table.clone_from(&doc.table);
            let _ =
                write!(page, "\n## `{table}`\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n");
        }
        let default = match doc.default.as_str() {
            "" => "none".into(),
            "required" => "required".into(),
            text => format!("`{text}`"),
        };
        let unit = if doc.unit.is_empty() { String::new() } else { format!(" ({})", doc.unit) };
        let allowed = doc.allowed.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {default} | {allowed}{unit} | {} |",
            doc.key,
            doc.text.replace('|', "\\|")
        );
    }
    page
}
