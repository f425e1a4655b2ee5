//! Forms: fields with label, hint, value and error, so that a refused form comes back as it was
//! sent, with a summary that links to what is wrong.
//!
//! A field's `name` is the path of the value in the API (`executor.limits.wall_seconds`), so that a
//! [`FieldError`] finds its field by name.

use crate::domain::FieldError;

/// One choice of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub hint: String,
}

impl Choice {
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into(), hint: String::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// How a field is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    Text,
    /// Text that a machine reads: monospaced, no spelling help.
    Code,
    Password,
    Number {
        min: u64,
        max: u64,
    },
    /// A day.
    Date,
    /// Several lines.
    Area {
        rows: u8,
        code: bool,
    },
    /// A closed list as a menu.
    Select(Vec<Choice>),
    /// A short closed list, all of it visible.
    Radio(Vec<Choice>),
    /// On or off; on is sent as `on`.
    Toggle,
    /// A file, with what is accepted.
    File {
        accept: &'static str,
    },
}

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub hint: String,
    pub control: Control,
    pub value: String,
    pub error: Option<String>,
    pub required: bool,
    /// The browser's word for what belongs here (`current-password`); `off` where nothing does.
    pub autocomplete: &'static str,
    pub placeholder: &'static str,
    /// Where the page begins.
    pub autofocus: bool,
    /// Told apart from the same field in another form of the page.
    pub prefix: String,
}

impl Field {
    pub fn new(name: &'static str, label: &'static str, control: Control) -> Self {
        Self {
            name,
            label,
            hint: String::new(),
            control,
            value: String::new(),
            error: None,
            required: false,
            autocomplete: "off",
            placeholder: "",
            autofocus: false,
            prefix: String::new(),
        }
    }

    pub fn text(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Control::Text)
    }

    pub fn code(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Control::Code)
    }

    pub fn area(name: &'static str, label: &'static str, rows: u8) -> Self {
        Self::new(name, label, Control::Area { rows, code: false })
    }

    pub fn code_area(name: &'static str, label: &'static str, rows: u8) -> Self {
        Self::new(name, label, Control::Area { rows, code: true })
    }

    pub fn toggle(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Control::Toggle)
    }

    pub fn password(name: &'static str, label: &'static str, autocomplete: &'static str) -> Self {
        Self { autocomplete, ..Self::new(name, label, Control::Password) }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    #[must_use]
    pub const fn placeholder(mut self, placeholder: &'static str) -> Self {
        self.placeholder = placeholder;
        self
    }

    #[must_use]
    pub const fn autocomplete(mut self, autocomplete: &'static str) -> Self {
        self.autocomplete = autocomplete;
        self
    }

    #[must_use]
    pub const fn autofocus(mut self) -> Self {
        self.autofocus = true;
        self
    }

    /// The element's id.
    pub fn id(&self) -> String {
        format!("{}{}", self.prefix, self.name)
    }

    /// The ids of hint and error, for `aria-describedby`; empty when there is neither.
    pub fn described_by(&self) -> String {
        let id = self.id();
        let hint = (!self.hint.is_empty()).then(|| format!("{id}-hint"));
        let error = self.error.is_some().then(|| format!("{id}-error"));
        hint.into_iter().chain(error).collect::<Vec<_>>().join(" ")
    }

    pub fn is_on(&self) -> bool {
        matches!(self.value.as_str(), "on" | "true")
    }

    /// The id of one choice of a radio group; the first one carries the field's own, so that the
    /// error summary finds it.
    pub fn choice_id(&self, index0: usize) -> String {
        if index0 == 0 { self.id() } else { format!("{}-{index0}", self.id()) }
    }
}

/// A form is a fixed set of fields.
pub trait Fields {
    fn fields(&self) -> Vec<&Field>;
    fn fields_mut(&mut self) -> Vec<&mut Field>;

    /// Takes over what was sent, so that nothing has to be typed twice. Passwords and files are not
    /// sent back; a toggle that was not sent was off.
    fn keep(&mut self, sent: &[(String, String)]) {
        for field in self.fields_mut() {
            let value = sent.iter().rev().find(|(name, _)| name == field.name).map(|(_, value)| value.clone());
            match (&field.control, value) {
                (Control::Password | Control::File { .. }, _) => {}
                (Control::Toggle, value) => field.value = value.unwrap_or_default(),
                (_, Some(value)) => field.value = value,
                (_, None) => {}
            }
        }
    }

    /// Puts each error at its field. Returns those that have no field here, for the summary.
    ///
    /// The page then begins at the summary, not at a field.
    fn blame(&mut self, errors: &[FieldError]) -> Vec<String> {
        let mut homeless = Vec::new();
        let mut fields = self.fields_mut();
        for field in &mut fields {
            field.autofocus = false;
        }
        for error in errors {
            match fields.iter_mut().find(|field| field.name == error.field) {
                // One field may hold several mistakes: a text of many lines does.
                Some(field) => match &mut field.error {
                    Some(before) => {
                        before.push_str("; ");
                        before.push_str(&error.error);
                    }
                    None => field.error = Some(error.error.clone()),
                },
                None => homeless.push(format!("{}: {}", error.field, error.error)),
            }
        }
        homeless
    }

    /// The fields that are wrong, for the summary.
    fn wrong(&self) -> Vec<&Field> {
        self.fields().into_iter().filter(|field| field.error.is_some()).collect()
    }

    /// Tells this form's elements apart from those of another form on the page.
    fn set_prefix(&mut self, prefix: &str) {
        for field in self.fields_mut() {
            prefix.clone_into(&mut field.prefix);
        }
    }
}

/// A struct of [`Field`]s that knows them all.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[$field_doc])* pub $field: $crate::http::view::form::Field),* }

        impl $crate::http::view::form::Fields for $name {
            fn fields(&self) -> Vec<&$crate::http::view::form::Field> {
                vec![$(&self.$field),*]
            }

            fn fields_mut(&mut self) -> Vec<&mut $crate::http::view::form::Field> {
                vec![$(&mut self.$field),*]
            }
        }
    };
}
pub(crate) use form;

/// A number of bytes as it stands in a field: `4 GiB`, `256 MiB`, exact.
pub fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// Reads what [`size`] writes, and what people write instead: `4GiB`, `256 mib`, `1024`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("must be a size such as 512 MiB or 4 GiB".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| "must be a size such as 512 MiB or 4 GiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    form!(Sample { name, secret, active });

    fn sample() -> Sample {
        Sample {
            name: Field::text("name", "Name").hint("What people call it"),
            secret: Field::password("secret", "Secret", "new-password"),
            active: Field::toggle("active", "Active").value("on"),
        }
    }

    #[test]
    fn a_refused_form_keeps_what_was_typed_but_never_a_password() {
        let mut form = sample();
        form.keep(&[("name".into(), "shop".into()), ("secret".into(), "hunter2".into())]);
        assert_eq!(form.name.value, "shop");
        assert_eq!(form.secret.value, "");
        assert!(!form.active.is_on());
    }

    #[test]
    fn an_error_finds_its_field_and_is_tied_to_it() {
        let mut form = sample();
        let errors = [("name", "must not be empty"), ("elsewhere", "is odd")]
            .map(|(field, error)| FieldError { field: field.into(), error: error.into() });
        assert_eq!(form.blame(&errors), ["elsewhere: is odd"]);
        assert_eq!(form.name.described_by(), "name-hint name-error");
        assert_eq!(form.wrong().len(), 1);
        assert_eq!(form.active.described_by(), "");
    }

    #[test]
    fn sizes_read_back_what_was_written() {
        for bytes in [0, 1, 1_000, 1 << 10, 268_435_456, 4 << 30, (4 << 30) + 1] {
            assert_eq!(parse_size(&size(bytes)), Ok(bytes));
        }
        assert_eq!(size(4 << 30), "4 GiB");
        assert_eq!(parse_size("512m"), Ok(536_870_912));
        assert!(parse_size("many").is_err());
        assert!(parse_size("99999999999 TiB").is_err());
    }
}
