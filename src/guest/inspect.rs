//! A look into a guest without running or compiling it.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, ExternalKind, Parser, Payload};

use super::{Form, NotAGuest};
use crate::{crypt, domain::Digest};

/// Functions of a guest; CPython has 11 448. A million empty ones take a compiler 55 s and 6 GB.
const FUNCTIONS: u64 = 200_000;
/// Pieces of data; CPython has 24 171. What they cost grows faster than their number.
const DATA_SEGMENTS: u64 = 40_000;
/// Types, imports, exports, globals, element segments: each.
const ENTRIES: u64 = 100_000;
/// Bytes of one function's code; what compiling costs grows faster than that.
const FUNCTION_BYTES: u64 = 2 << 20;
/// Modules within a component, and components within components.
const NESTED: u64 = 100;
/// Imports and exports that [`inspect`] lists.
const LISTED: usize = 1_000;
/// Characters of what is wrong with a file.
const REASON_CHARS: usize = 300;

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub form: Form,
    pub digest: Digest,
    pub bytes: u64,
    /// `module.name` of a core module, interface names of a component.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub functions: u64,
}

/// Tells what a file is; an error says why it cannot be a guest.
pub fn inspect(bytes: &[u8]) -> Result<Facts, NotAGuest> {
    let form = Form::of(bytes)?;
    let mut walk = Walk::default();
    walk.run(bytes)?;
    walk.command(form)?;
    let Walk { imports, exports, functions, .. } = walk;
    Ok(Facts { form, digest: crypt::digest(bytes), bytes: bytes.len() as u64, imports, exports, functions })
}

/// What is worth refusing before a compiler is tried on it.
pub fn check(bytes: &[u8]) -> Result<Form, NotAGuest> {
    let form = Form::of(bytes)?;
    let mut walk = Walk::default();
    walk.run(bytes)?;
    walk.command(form)?;
    Ok(form)
}

#[derive(Default)]
struct Walk {
    /// How deep in nested modules and components.
    depth: u32,
    nested: u64,
    functions: u64,
    data: u64,
    entries: u64,
    imports: Vec<String>,
    exports: Vec<String>,
    starts: bool,
    runs: bool,
}

impl Walk {
    fn run(&mut self, bytes: &[u8]) -> Result<(), NotAGuest> {
        for payload in Parser::new(0).parse_all(bytes) {
            self.payload(payload.map_err(|error| broken(&error))?)?;
        }
        Ok(())
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), NotAGuest> {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                limit("nested modules", &mut self.nested, 1, NESTED)?;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::FunctionSection(section) => {
                limit("functions", &mut self.functions, section.count().into(), FUNCTIONS)?;
            }
            Payload::CodeSectionEntry(body) => {
                limit("bytes in one function", &mut 0, body.range().len() as u64, FUNCTION_BYTES)?;
            }
            Payload::DataSection(section) => {
                limit("data segments", &mut self.data, section.count().into(), DATA_SEGMENTS)?;
            }
            Payload::TypeSection(section) => self.entries(section.count())?,
            Payload::GlobalSection(section) => self.entries(section.count())?,
            Payload::ElementSection(section) => self.entries(section.count())?,
            Payload::ImportSection(section) => {
                self.entries(section.count())?;
                for import in section.into_imports().take(LISTED) {
                    let import = import.map_err(|error| broken(&error))?;
                    self.import(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                self.entries(section.count())?;
                for export in section.into_iter().take(LISTED) {
                    let export = export.map_err(|error| broken(&error))?;
                    self.starts |= export.kind == ExternalKind::Func && export.name == "_start";
                    self.export(export.name);
                }
            }
            Payload::ComponentImportSection(section) => {
                self.entries(section.count())?;
                for import in section.into_iter().take(LISTED) {
                    let import = import.map_err(|error| broken(&error))?;
                    if matches!(import.ty, ComponentTypeRef::Instance(_) | ComponentTypeRef::Func(_)) {
                        self.import(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                self.entries(section.count())?;
                for export in section.into_iter().take(LISTED) {
                    let export = export.map_err(|error| broken(&error))?;
                    let name = export.name.name;
                    self.runs |= self.depth == 0
                        && export.kind == ComponentExternalKind::Instance
                        && name.starts_with("wasi:cli/run@0.2");
                    self.export(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn entries(&mut self, count: u32) -> Result<(), NotAGuest> {
        limit("types, imports, exports and globals", &mut self.entries, count.into(), ENTRIES)
    }

    fn import(&mut self, name: String) {
        if self.depth == 0 && self.imports.len() < LISTED {
            self.imports.push(name);
        }
    }

    fn export(&mut self, name: &str) {
        if self.depth == 0 && self.exports.len() < LISTED {
            self.exports.push(name.to_owned());
        }
    }

    /// Whether it can be started.
    fn command(&self, form: Form) -> Result<(), NotAGuest> {
        match form {
            Form::Core if !self.starts => Err(NotAGuest::NoCommand(
                "it exports no function `_start`: it is a library, not a command (build it as a program for wasm32-wasip1)",
            )),
            Form::Component if !self.runs => Err(NotAGuest::NoCommand(
                "it exports no `wasi:cli/run@0.2.x`: it is not a command (build it for the world `wasi:cli/command`)",
            )),
            Form::Core | Form::Component => Ok(()),
        }
    }
}

fn limit(what: &'static str, so_far: &mut u64, more: u64, limit: u64) -> Result<(), NotAGuest> {
    *so_far += more;
    if *so_far > limit { Err(NotAGuest::TooMany { what, found: *so_far, limit }) } else { Ok(()) }
}

/// One line of bounded length: the parser's messages quote the file, and some have several lines.
fn broken(error: &wasmparser::BinaryReaderError) -> NotAGuest {
    let text = error.to_string();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    NotAGuest::Broken(words.collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS).collect())
}
