//! The form of a stack's settings, for a new stack and an existing one.

use askama::Template;

use super::{
    form::{Choice, Control, Field, Fields, form, size},
    frame::Frame,
};
use crate::domain::{
    guest::{GuestCall, May},
    stack::{ExecutorKind, Limits, NetworkMode, Source, StackSettings, Vendor},
};

form!(
    /// Everything that is set on a stack; names are the API's paths. Lists are one item a line,
    /// sizes are `4 GiB`.
    StackForm {
        name,
        slug,
        description,
        labels,
        source_kind,
        url,
        branch,
        project_root,
        project_globs,
        credential,
        submodules,
        vendor_kind,
        binary,
        workspace,
        init,
        plan,
        apply,
        destroy,
        guest_init,
        guest_plan,
        guest_apply,
        guest_destroy,
        executor_kind,
        image,
        network,
        network_hosts,
        wall_seconds,
        silence_seconds,
        memory_bytes,
        processes,
        cpu_percent,
        open_files,
        file_bytes,
        workspace_bytes,
        output_bytes,
        autodeploy,
        allow_promotion,
        enabled,
        protect_from_deletion,
        mask_well_known,
        unconfirmed_expiry_days,
        before_init,
        after_init,
        before_plan,
        after_plan,
        before_apply,
        after_apply,
        before_perform,
        after_perform,
        before_destroy,
        after_destroy,
        after_run,
    }
);

/// What a test of the source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTest {
    pub good: bool,
    /// `main is at 4f2c1e9 “Raise the replica count”, 214 files`, or why it did not work.
    pub text: String,
}

/// `/stacks/new`. Posts `do=create|test_source`; with `block=source_test` the answer is
/// [`SourceTestFragment`].
#[derive(Clone, Debug, Template)]
#[template(path = "stack_new.html")]
pub struct NewStackPage {
    pub frame: Frame,
    pub form: StackForm,
    pub test: Option<SourceTest>,
    /// What is wrong and has no field.
    pub problems: Vec<String>,
}

/// What htmx puts in the place of the last test.
#[derive(Clone, Debug, Template)]
#[template(path = "source_test.html")]
pub struct SourceTestFragment {
    pub test: Option<SourceTest>,
}

fn choices(items: &[(&str, &str, &str)]) -> Vec<Choice> {
    items.iter().map(|(value, label, hint)| Choice::new(*value, *label).hint(*hint)).collect()
}

/// A guest as it is typed; as JSON where that does not say all.
fn guest_line(call: &GuestCall) -> String {
    let plain = |arg: &String| !arg.is_empty() && !arg.contains(char::is_whitespace);
    if call.stdin.is_none() && call.may == May::default() && call.args.iter().all(plain) {
        return call.line();
    }
    serde_json::to_string_pretty(call).unwrap_or_default()
}

fn hook(name: &'static str, label: &'static str) -> Field {
    Field::code_area(name, label, 2)
}

impl StackForm {
    /// A new stack's form. `credentials` and `images` are names of stored ones.
    pub fn new(credentials: &[String], images: &[String]) -> Self {
        let none = std::iter::once(Choice::new("", "None"));
        let credentials = none.chain(credentials.iter().map(|name| Choice::new(name, name))).collect();
        let host = std::iter::once(Choice::new("host", "The host's own programs, read-only"));
        let images = host.chain(images.iter().map(|name| Choice::new(name, name))).collect();
        let defaults = Limits::default();
        let limit = |name, label, value: String| Field::code(name, label).value(value);
        Self {
            name: Field::text("name", "Name").required().autofocus(),
            slug: Field::code("slug", "Slug")
                .hint("In addresses, for ever: a-z, 0-9 and -. Empty: made from the name."),
            description: Field::area("description", "Description", 2),
            labels: Field::text("labels", "Labels").hint("Separated by blanks.").placeholder("prod team:payments"),
            source_kind: Field::new(
                "source.kind",
                "Source",
                Control::Radio(choices(&[
                    ("git", "Git", "A branch of a repository: each run takes its newest commit"),
                    ("upload", "Upload", "A tar.gz that you send on this stack's settings page or by the API"),
                ])),
            )
            .value("git"),
            url: Field::code("source.url", "Address").placeholder("https://git.example.org/infra.git"),
            branch: Field::code("source.branch", "Branch").value("main"),
            project_root: Field::code("source.project_root", "Project root")
                .hint("The directory that phases run in. Empty: the source's root."),
            project_globs: Field::code_area("source.project_globs", "Further paths", 2)
                .hint("One a line. Changes there concern this stack, too."),
            credential: Field::new("source.credential", "Credential", Control::Select(credentials)),
            submodules: Field::toggle("source.submodules", "Fetch submodules"),
            vendor_kind: Field::new(
                "vendor.kind",
                "Vendor",
                Control::Radio(choices(&[
                    ("terraform", "Terraform", ""),
                    ("opentofu", "OpenTofu", ""),
                    ("custom", "Custom", "Shell commands of your own"),
                    ("wasi", "WASI guests", "Code that nobody trusts, in a sandbox with caps"),
                ])),
            )
            .value("terraform"),
            binary: Field::code("vendor.binary", "Binary")
                .hint("A program on the jail's PATH, or one that the operator lists. Empty: the vendor's usual one."),
            workspace: Field::code("vendor.workspace", "Workspace")
                .hint("Terraform's word for a named state. Empty: default."),
            init: Field::code_area("vendor.init", "Init", 2).hint("An empty command does nothing."),
            plan: Field::code_area("vendor.plan", "Plan", 3)
                .hint("Exit 0: no change. Exit 2: changes; describe them as JSON in $AIRLOCK_PLAN_FILE. Else: failed."),
            apply: Field::code_area("vendor.apply", "Apply", 3),
            destroy: Field::code_area("vendor.destroy", "Destroy", 2),
            guest_init: Field::code_area("vendor.guest.init", "Init guest", 1)
                .hint("The guest's name and its arguments; or JSON, with caps and grants. Empty: nothing is done."),
            guest_plan: Field::code_area("vendor.guest.plan", "Plan guest", 2)
                .hint("It writes its changes to /output/plan.json. Exit 0 without any: nothing to do.")
                .placeholder("planner --env prod"),
            guest_apply: Field::code_area("vendor.guest.apply", "Apply guest", 2)
                .placeholder(r#"{"guest": "applier", "memory": "64MiB", "network": ["api.example.org"]}"#),
            guest_destroy: Field::code_area("vendor.guest.destroy", "Destroy guest", 1),
            executor_kind: Field::new(
                "executor.kind",
                "Isolation",
                Control::Select(choices(&[
                    ("jail", "Jail", ""),
                    ("unconfined", "None (where the operator allows it)", ""),
                ])),
            )
            .value("jail"),
            image: Field::new("executor.image", "Root", Control::Select(images)).value("host"),
            network: Field::new(
                "executor.network",
                "Network",
                Control::Radio(choices(&[
                    ("host", "The host's", "Whatever the host reaches"),
                    ("allow", "Listed hosts only", "Through the runner's proxy"),
                    ("none", "None", "Only its own loopback"),
                ])),
            )
            .value("host"),
            network_hosts: Field::code_area("executor.network.allow", "Allowed hosts", 2)
                .hint("One host:port a line.")
                .placeholder("registry.example.org:443"),
            wall_seconds: limit("executor.limits.wall_seconds", "Time per phase, s", defaults.wall_seconds.to_string()),
            silence_seconds: limit(
                "executor.limits.silence_seconds",
                "Silence, s",
                defaults.silence_seconds.to_string(),
            )
            .hint("0: may be silent for ever."),
            memory_bytes: limit("executor.limits.memory_bytes", "Memory", size(defaults.memory_bytes)),
            processes: limit("executor.limits.processes", "Processes", defaults.processes.to_string()),
            cpu_percent: limit("executor.limits.cpu_percent", "CPU, %", String::new())
                .hint("100 is one core. Empty: no limit."),
            open_files: limit("executor.limits.open_files", "Open files", defaults.open_files.to_string()),
            file_bytes: limit("executor.limits.file_bytes", "One file", size(defaults.file_bytes)),
            workspace_bytes: limit("executor.limits.workspace_bytes", "Workspace", size(defaults.workspace_bytes))
                .hint("A task's mounts may hold as much again."),
            output_bytes: limit("executor.limits.output_bytes", "Output per phase", size(defaults.output_bytes)),
            autodeploy: Field::toggle("autodeploy", "Autodeploy")
                .hint("Apply without asking when no policy warns and the stack is not locked."),
            allow_promotion: Field::toggle("allow_promotion", "Allow promotion")
                .hint("A finished preview can be made a tracked run of the same source."),
            enabled: Field::toggle("enabled", "Enabled").hint("Off: runs stay queued.").value("on"),
            protect_from_deletion: Field::toggle("protect_from_deletion", "Protect from deletion"),
            mask_well_known: Field::toggle("mask_well_known", "Mask well-known secrets")
                .hint("Shapes of tokens and keys in logs, besides the sensitive values.")
                .value("on"),
            unconfirmed_expiry_days: Field::code("unconfirmed_expiry_days", "Discard unconfirmed runs after, days")
                .hint("1 to 365. Empty: never."),
            before_init: hook("hooks.before_init", "Before init"),
            after_init: hook("hooks.after_init", "After init"),
            before_plan: hook("hooks.before_plan", "Before plan"),
            after_plan: hook("hooks.after_plan", "After plan"),
            before_apply: hook("hooks.before_apply", "Before apply"),
            after_apply: hook("hooks.after_apply", "After apply"),
            before_perform: hook("hooks.before_perform", "Before a task"),
            after_perform: hook("hooks.after_perform", "After a task"),
            before_destroy: hook("hooks.before_destroy", "Before destroy"),
            after_destroy: hook("hooks.after_destroy", "After destroy"),
            after_run: hook("hooks.after_run", "After every run"),
        }
    }

    /// The form with the settings of an existing stack.
    #[must_use]
    pub fn filled(mut self, settings: &StackSettings) -> Self {
        let on = |yes: bool| if yes { "on".to_owned() } else { String::new() };
        self.name.value = settings.name.to_string();
        self.name.autofocus = false;
        self.description.value.clone_from(&settings.description);
        self.labels.value = settings.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.autodeploy.value = on(settings.autodeploy);
        self.allow_promotion.value = on(settings.allow_promotion);
        self.enabled.value = on(settings.enabled);
        self.protect_from_deletion.value = on(settings.protect_from_deletion);
        self.mask_well_known.value = on(settings.mask_well_known);
        self.unconfirmed_expiry_days.value =
            settings.unconfirmed_expiry_days.map(|days| days.to_string()).unwrap_or_default();
        self.fill_source(settings.source.as_ref());
        self.fill_vendor(&settings.vendor);
        self.fill_executor(settings);
        self.fill_limits(&settings.executor.limits);
        for (field, (_, hooks)) in self.hooks_mut().into_iter().zip(settings.hooks.lists()) {
            field.value = hooks.join("\n");
        }
        self
    }

    fn fill_source(&mut self, source: Option<&Source>) {
        let Some(source) = source else { return };
        self.project_root.value = source.project_root().to_string();
        match source {
            Source::Upload { .. } => "upload".clone_into(&mut self.source_kind.value),
            Source::Git { url, branch, project_globs, credential, submodules, .. } => {
                "git".clone_into(&mut self.source_kind.value);
                self.url.value.clone_from(url);
                self.branch.value = branch.to_string();
                self.project_globs.value = project_globs.join("\n");
                self.credential.value = credential.clone().unwrap_or_default();
                self.submodules.value = if *submodules { "on".to_owned() } else { String::new() };
            }
        }
    }

    fn fill_vendor(&mut self, vendor: &Vendor) {
        vendor.word().clone_into(&mut self.vendor_kind.value);
        match vendor {
            Vendor::Terraform { binary, workspace } | Vendor::OpenTofu { binary, workspace } => {
                self.binary.value = binary.clone().unwrap_or_default();
                self.workspace.value = workspace.clone().unwrap_or_default();
            }
            Vendor::Custom { init, plan, apply, destroy } => {
                self.init.value = init.clone().unwrap_or_default();
                self.plan.value = plan.clone().unwrap_or_default();
                self.apply.value = apply.clone().unwrap_or_default();
                self.destroy.value = destroy.clone().unwrap_or_default();
            }
            Vendor::Wasi { init, plan, apply, destroy } => {
                self.guest_init.value = init.as_ref().map(guest_line).unwrap_or_default();
                self.guest_plan.value = plan.as_ref().map(guest_line).unwrap_or_default();
                self.guest_apply.value = apply.as_ref().map(guest_line).unwrap_or_default();
                self.guest_destroy.value = destroy.as_ref().map(guest_line).unwrap_or_default();
            }
        }
    }

    fn fill_executor(&mut self, settings: &StackSettings) {
        let executor = &settings.executor;
        let kind = match executor.kind {
            ExecutorKind::Jail => "jail",
            ExecutorKind::Unconfined => "unconfined",
        };
        kind.clone_into(&mut self.executor_kind.value);
        self.image.value.clone_from(&executor.image);
        let (network, hosts) = match &executor.network {
            NetworkMode::Host => ("host", String::new()),
            NetworkMode::None => ("none", String::new()),
            NetworkMode::Allow(hosts) => ("allow", hosts.join("\n")),
        };
        network.clone_into(&mut self.network.value);
        self.network_hosts.value = hosts;
    }

    fn fill_limits(&mut self, limits: &Limits) {
        self.wall_seconds.value = limits.wall_seconds.to_string();
        self.silence_seconds.value = limits.silence_seconds.to_string();
        self.memory_bytes.value = size(limits.memory_bytes);
        self.processes.value = limits.processes.to_string();
        self.cpu_percent.value = limits.cpu_percent.map(|percent| percent.to_string()).unwrap_or_default();
        self.open_files.value = limits.open_files.to_string();
        self.file_bytes.value = size(limits.file_bytes);
        self.workspace_bytes.value = size(limits.workspace_bytes);
        self.output_bytes.value = size(limits.output_bytes);
    }

    /// In the order of [`crate::domain::stack::Hooks::lists`].
    fn hooks_mut(&mut self) -> [&mut Field; 11] {
        [
            &mut self.before_init,
            &mut self.after_init,
            &mut self.before_plan,
            &mut self.after_plan,
            &mut self.before_apply,
            &mut self.after_apply,
            &mut self.before_perform,
            &mut self.after_perform,
            &mut self.before_destroy,
            &mut self.after_destroy,
            &mut self.after_run,
        ]
    }

    /// The same, to show.
    pub fn hooks(&self) -> [&Field; 11] {
        [
            &self.before_init,
            &self.after_init,
            &self.before_plan,
            &self.after_plan,
            &self.before_apply,
            &self.after_apply,
            &self.before_perform,
            &self.after_perform,
            &self.before_destroy,
            &self.after_destroy,
            &self.after_run,
        ]
    }
}
