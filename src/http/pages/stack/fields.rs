//! From the form of a stack's settings to the settings, with every error at its field.

use crate::{
    domain::{
        BranchName, FieldError, GuestName, Label, RelativePath, StackName,
        guest::GuestCall,
        stack::{Executor, ExecutorKind, Hooks, Limits, NetworkMode, Source, StackSettings, Vendor},
    },
    http::view::{
        form::{Field, parse_size},
        stack_form::StackForm,
    },
};

/// Names that actions use for fields that the form calls otherwise.
pub const NAMES: &[(&str, &str)] = &[
    ("executor.network", "executor.network.allow"),
    ("vendor.init.guest", "vendor.guest.init"),
    ("vendor.plan.guest", "vendor.guest.plan"),
    ("vendor.apply.guest", "vendor.guest.apply"),
    ("vendor.destroy.guest", "vendor.guest.destroy"),
];

/// Reads fields, and collects what is wrong with them.
struct Reading<'f> {
    form: &'f StackForm,
    errors: Vec<FieldError>,
}

/// The settings that a form asks for; `base` is what the form was filled from.
pub fn settings(form: &StackForm, base: Option<&StackSettings>) -> Result<StackSettings, Vec<FieldError>> {
    let mut reading = Reading { form, errors: Vec::new() };
    let read = reading.all(base);
    match read {
        Some(settings) if reading.errors.is_empty() => Ok(settings),
        _ => Err(reading.errors),
    }
}

/// The source that a form asks for, by itself.
pub fn source(form: &StackForm) -> Result<Source, Vec<FieldError>> {
    let mut reading = Reading { form, errors: Vec::new() };
    let source = reading.source(None);
    match source {
        Some(Some(source)) if reading.errors.is_empty() => Ok(source),
        _ => Err(reading.errors),
    }
}

impl Reading<'_> {
    /// Every part is read, so that all errors are found at once.
    fn all(&mut self, base: Option<&StackSettings>) -> Option<StackSettings> {
        let form = self.form;
        let name = self.parsed(&form.name, StackName::new);
        let labels = self.labels();
        let source = self.source(base);
        let vendor = self.vendor();
        let executor = self.executor();
        let expiry = self.number(&form.unconfirmed_expiry_days);
        Some(StackSettings {
            name: name?,
            description: form.description.value.trim().to_owned(),
            labels: labels?,
            vendor: vendor?,
            source: source?,
            executor: executor?,
            autodeploy: form.autodeploy.is_on(),
            allow_promotion: form.allow_promotion.is_on(),
            enabled: form.enabled.is_on(),
            protect_from_deletion: form.protect_from_deletion.is_on(),
            mask_well_known: form.mask_well_known.is_on(),
            unconfirmed_expiry_days: expiry?,
            hooks: hooks(form, base.map(|base| &base.hooks)),
        })
    }

    fn wrong(&mut self, field: &Field, error: impl ToString) {
        self.errors.push(FieldError { field: field.name.to_owned(), error: error.to_string() });
    }

    fn parsed<T, E: ToString>(&mut self, field: &Field, parse: impl Fn(String) -> Result<T, E>) -> Option<T> {
        match parse(field.value.trim().to_owned()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(field, error);
                None
            }
        }
    }

    /// A number that may be left out.
    fn number<T: std::str::FromStr>(&mut self, field: &Field) -> Option<Option<T>> {
        if field.value.trim().is_empty() {
            return Some(None);
        }
        self.parsed(field, |text| text.parse().map(Some).map_err(|_| "must be a number"))
    }

    fn labels(&mut self) -> Option<Vec<Label>> {
        let words =
            self.form.labels.value.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        match words.map(Label::new).collect() {
            Ok(labels) => Some(labels),
            Err(error) => {
                self.wrong(&self.form.labels, error);
                None
            }
        }
    }

    fn source(&mut self, base: Option<&StackSettings>) -> Option<Option<Source>> {
        let form = self.form;
        let project_root = self.parsed(&form.project_root, |text| RelativePath::new(text.trim_end_matches('/')));
        if form.source_kind.value == "upload" {
            return Some(Some(Source::Upload { project_root: project_root? }));
        }
        let url = form.url.value.trim().to_owned();
        if url.is_empty() && base.is_some_and(|base| base.source.is_none()) {
            return Some(None);
        }
        if url.is_empty() {
            self.wrong(&form.url, "give the address of a repository, or choose Upload");
        }
        let branch = self.parsed(&form.branch, BranchName::new);
        Some(Some(Source::Git {
            url,
            branch: branch?,
            project_root: project_root?,
            project_globs: lines(&form.project_globs.value),
            credential: filled(&form.credential.value),
            submodules: form.submodules.is_on(),
        }))
    }

    fn vendor(&mut self) -> Option<Vendor> {
        let form = self.form;
        let (binary, workspace) = (filled(&form.binary.value), filled(&form.workspace.value));
        let command = |field: &Field| (!field.value.trim().is_empty()).then(|| field.value.clone());
        match form.vendor_kind.value.as_str() {
            "terraform" => Some(Vendor::Terraform { binary, workspace }),
            "opentofu" => Some(Vendor::OpenTofu { binary, workspace }),
            "custom" => Some(Vendor::Custom {
                init: command(&form.init),
                plan: command(&form.plan),
                apply: command(&form.apply),
                destroy: command(&form.destroy),
            }),
            "wasi" => {
                let (init, plan) = (self.guest(&form.guest_init), self.guest(&form.guest_plan));
                let (apply, destroy) = (self.guest(&form.guest_apply), self.guest(&form.guest_destroy));
                Some(Vendor::Wasi { init: init?, plan: plan?, apply: apply?, destroy: destroy? })
            }
            _ => {
                self.wrong(&form.vendor_kind, "choose one");
                None
            }
        }
    }

    /// A guest that may be left out: its name and its arguments, or all of it as JSON.
    fn guest(&mut self, field: &Field) -> Option<Option<GuestCall>> {
        let text = field.value.trim();
        if text.starts_with('{') {
            return self.parsed(field, |text| serde_json::from_str(&text).map(Some));
        }
        let mut words = text.split_whitespace();
        let Some(name) = words.next() else { return Some(None) };
        match GuestName::new(name) {
            Ok(guest) => {
                let args = words.map(str::to_owned).collect();
                Some(Some(GuestCall { args, ..GuestCall::new(guest) }))
            }
            Err(error) => {
                self.wrong(field, format!("the guest's name {error}"));
                None
            }
        }
    }

    fn executor(&mut self) -> Option<Executor> {
        let form = self.form;
        let kind = match form.executor_kind.value.as_str() {
            "unconfined" => ExecutorKind::Unconfined,
            _ => ExecutorKind::Jail,
        };
        let network = match form.network.value.as_str() {
            "none" => NetworkMode::None,
            "allow" => NetworkMode::Allow(lines(&form.network_hosts.value)),
            _ => NetworkMode::Host,
        };
        Some(Executor { kind, image: form.image.value.clone(), network, limits: self.limits()? })
    }

    fn limits(&mut self) -> Option<Limits> {
        let form = self.form;
        let wall_seconds = self.number(&form.wall_seconds);
        let silence_seconds = self.number(&form.silence_seconds);
        let memory_bytes = self.size(&form.memory_bytes);
        let processes = self.number(&form.processes);
        let cpu_percent = self.number(&form.cpu_percent);
        let open_files = self.number(&form.open_files);
        let file_bytes = self.size(&form.file_bytes);
        let workspace_bytes = self.size(&form.workspace_bytes);
        let output_bytes = self.size(&form.output_bytes);
        let usual = Limits::default();
        Some(Limits {
            wall_seconds: wall_seconds?.unwrap_or(usual.wall_seconds),
            silence_seconds: silence_seconds?.unwrap_or(usual.silence_seconds),
            memory_bytes: memory_bytes?.unwrap_or(usual.memory_bytes),
            processes: processes?.unwrap_or(usual.processes),
            cpu_percent: cpu_percent?,
            open_files: open_files?.unwrap_or(usual.open_files),
            file_bytes: file_bytes?.unwrap_or(usual.file_bytes),
            workspace_bytes: workspace_bytes?.unwrap_or(usual.workspace_bytes),
            output_bytes: output_bytes?.unwrap_or(usual.output_bytes),
        })
    }

    /// A size that may be left out.
    fn size(&mut self, field: &Field) -> Option<Option<u64>> {
        if field.value.trim().is_empty() {
            return Some(None);
        }
        self.parsed(field, |text| parse_size(&text).map(Some))
    }
}

fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// One hook a line. A list that was not touched stays as it is, with hooks of several lines.
fn hooks(form: &StackForm, base: Option<&Hooks>) -> Hooks {
    let mut hooks = base.cloned().unwrap_or_default();
    let lists = [
        &mut hooks.before_init,
        &mut hooks.after_init,
        &mut hooks.before_plan,
        &mut hooks.after_plan,
        &mut hooks.before_apply,
        &mut hooks.after_apply,
        &mut hooks.before_perform,
        &mut hooks.after_perform,
        &mut hooks.before_destroy,
        &mut hooks.after_destroy,
        &mut hooks.after_run,
    ];
    for (list, field) in lists.into_iter().zip(form.hooks()) {
        if list.join("\n") != field.value {
            *list = lines(&field.value);
        }
    }
    hooks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> StackSettings {
        serde_json::from_value(json!({
            "name": "Shop", "description": "a\nb", "labels": ["prod", "team:shop"],
            "vendor": {"kind": "custom", "plan": "echo plan\nexit 2", "apply": "true"},
            "source": {"kind": "git", "url": "https://example.org/x.git", "branch": "main", "project_root": "infra",
                       "project_globs": ["a/**", "b"], "credential": "infra", "submodules": true},
            "executor": {"network": {"allow": ["a:1", "b:2"]}, "limits": {"memory_bytes": 1_073_741_824_u64, "cpu_percent": 50}},
            "autodeploy": true, "allow_promotion": true, "unconfirmed_expiry_days": 3,
            "hooks": {"before_plan": ["if true; then\n  echo x\nfi", "echo y"], "after_run": ["echo z"]}
        }))
        .unwrap()
    }

    #[test]
    fn a_form_that_nobody_touched_gives_the_settings_that_filled_it() {
        let settings = sample();
        let form = StackForm::new(&["infra".into()], &[]).filled(&settings);
        assert_eq!(super::settings(&form, Some(&settings)).unwrap(), settings);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_at_its_field() {
        let mut form = StackForm::new(&[], &[]).filled(&sample());
        form.name.value = String::new();
        form.labels.value = "ok, x".into();
        form.branch.value = "--upload-pack".into();
        form.memory_bytes.value = "much".into();
        form.unconfirmed_expiry_days.value = "soon".into();
        let errors = settings(&form, None).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["name", "source.branch", "executor.limits.memory_bytes", "unconfirmed_expiry_days"]);
    }

    #[test]
    fn a_changed_list_of_hooks_is_one_hook_a_line() {
        let mut form = StackForm::new(&[], &[]).filled(&sample());
        form.after_run.value = "echo a\n\n  echo b ".into();
        let read = settings(&form, Some(&sample())).unwrap();
        assert_eq!(read.hooks.after_run, ["echo a", "echo b"]);
        assert_eq!(read.hooks.before_plan, sample().hooks.before_plan);
    }
}
