//! The shell text of one phase.
//!
//! The text is generated from fixed pieces and numbers; whatever a user said is an argument, kept in
//! a read-only variable. Hooks run by `eval` in the shell itself, so that exports and `cd` last; they
//! find no arguments, and the report descriptor is closed for them. What the script reports is read
//! by [`super::interpret`]:
//!
//! | line | meaning |
//! | --- | --- |
//! | `root` | there is no project root |
//! | `before N`, `after N` | the N-th hook begins, counted from 1 |
//! | `missing` | the vendor's program cannot be found |
//! | `syntax` | the shell does not understand the custom command |
//! | `command` | the command begins |
//! | `exit N` | it ended |
//! | `done` | everything is done |

use std::fmt::Write as _;

use crate::{
    domain::{Kind, stack::Vendor},
    protocol::{Command, RunFacts, Shell},
    vendor::{Places, binary},
};

/// One `sh` of a phase: its text, which is ours alone, and its arguments, which hold what users said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub text: String,
    pub arguments: Vec<String>,
}

impl Script {
    /// The whole argument vector: `sh -c TEXT airlock ARGUMENT…`.
    pub fn argv(&self) -> Vec<&str> {
        ["sh", "-c", &self.text, "airlock"].into_iter().chain(self.arguments.iter().map(String::as_str)).collect()
    }
}

/// The script of a phase, to be run by a POSIX shell with [`super::REPORT_FD`] open for writing and
/// [`super::environment()`] as its environment. It enters the project root by itself.
///
/// A command of the custom vendor and a task's command have the shell's ordinary meaning (`sh -c`:
/// the last command's exit code counts); hooks run under `set -e`.
pub fn script(shell: &Shell, facts: &RunFacts, places: &Places) -> Script {
    let mut writer = Writer::default();
    writer.enter(places, facts);
    if shell.skip {
        writer.text.push_str(SKIPPED);
        return writer.finish();
    }
    writer.hooks("before", &shell.before);
    writer.command(shell, facts, places);
    writer.hooks("after", &shell.after);
    writer.text.push_str("printf 'done\\n' >&3\n");
    writer.finish()
}

/// What every script begins with. Traps keep the shell alive while its command stops in its own time.
const FUNCTIONS: &str = r#"set -e
airlock_went() {
[ "$1" = 0 ] || exit "$1"
}
airlock_begins() {
trap : INT TERM
set +e
printf 'command\n' >&3
}
airlock_ended() {
printf 'exit %s\n' "$1" >&3
[ "$1" = 0 ] || [ "$1" = "${2-0}" ] || exit "$1"
}
airlock_goes_on() {
trap - INT TERM
set -e
}
airlock_find() {
case $1 in
*/*) if [ -f "$1" ] && [ -x "$1" ]; then return 0; fi ;;
*) if command -v "$1" >/dev/null 2>&1; then return 0; fi ;;
esac
printf 'missing\n' >&3
printf 'airlock: there is no program `%s` here (PATH is %s); install it on the host or in the stack'\''s image, or set the stack'\''s binary to one that is there\n' "$1" "$PATH" >&2
exit 127
}
airlock_select() {
if airlock_told=$("$1" workspace select "$2" 2>&1); then
printf '%s\n' "$airlock_told"
return 0
fi
case $airlock_told in
*"doesn't exist"*) "$1" workspace new "$2" ;;
*) printf '%s\n' "$airlock_told" >&2; return 1 ;;
esac
}
airlock_show() (
umask 077
"$1" show -json "$2" >"$3"
)
"#;

const SKIPPED: &str = "printf 'airlock: skipped, because AIRLOCK_SKIP_APPLYING (or SPACELIFT_SKIP_APPLYING) is true\\n'
printf 'command\\nexit 0\\ndone\\n' >&3
";

#[derive(Default)]
struct Writer {
    text: String,
    arguments: Vec<String>,
}

impl Writer {
    /// Takes a text as an argument; gives what names it in the script.
    fn argument(&mut self, text: impl Into<String>) -> String {
        self.arguments.push(text.into());
        format!("\"$airlock_{}\"", self.arguments.len())
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a String takes everything");
        self.text.push('\n');
    }

    fn enter(&mut self, places: &Places, facts: &RunFacts) {
        let root = match facts.project_root.as_str() {
            "" => places.workspace.clone(),
            below => format!("{}/{below}", places.workspace),
        };
        let root = self.argument(root);
        self.line(format_args!("cd -- {root} || {{ printf 'root\\n' >&3; exit 1; }}"));
    }

    fn hooks(&mut self, when: &str, hooks: &[String]) {
        for (n, hook) in (1..).zip(hooks) {
            let hook = self.argument(hook);
            self.line(format_args!("printf '{when} {n}\\n' >&3"));
            self.line(format_args!("eval {hook} 3>&-"));
            self.line(format_args!("airlock_went \"$?\""));
            self.line(format_args!("set -e"));
        }
    }

    fn command(&mut self, shell: &Shell, facts: &RunFacts, places: &Places) {
        use Vendor::{Custom, OpenTofu, Terraform, Wasi};
        match (&shell.command, &facts.vendor) {
            // Guests are no business of a shell; a phase without one does nothing.
            (Command::Plan { .. }, Wasi { .. }) => self.custom_plan(None, places),
            (Command::Nothing, _) | (Command::Init | Command::Apply | Command::Destroy, Wasi { .. }) => self.nothing(),
            (Command::Perform { command }, _) => self.perform(command),
            (Command::Init, Custom { init, .. }) => self.custom(init.as_deref()),
            (Command::Plan { .. }, Custom { plan, .. }) => self.custom_plan(plan.as_deref(), places),
            (Command::Apply, Custom { apply, .. }) => self.custom(apply.as_deref()),
            (Command::Destroy, Custom { destroy, .. }) => self.custom(destroy.as_deref()),
            (Command::Init, vendor @ (Terraform { workspace, .. } | OpenTofu { workspace, .. })) => {
                self.init(vendor, workspace.as_deref());
            }
            (Command::Plan { destroy }, vendor @ (Terraform { .. } | OpenTofu { .. })) => {
                self.plan(vendor, &facts.targets, *destroy, facts.kind, places);
            }
            (Command::Apply | Command::Destroy, vendor @ (Terraform { .. } | OpenTofu { .. })) => {
                self.apply(vendor, places);
            }
        }
        self.line(format_args!("airlock_goes_on"));
    }

    fn nothing(&mut self) {
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("airlock_ended 0"));
    }

    fn perform(&mut self, command: &str) {
        let command = self.argument(command);
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("/bin/sh -c {command} 3>&-"));
        self.line(format_args!("airlock_ended \"$?\""));
    }

    /// A missing command does nothing.
    fn custom(&mut self, command: Option<&str>) {
        match command {
            Some(command) => self.subshell(command, ""),
            None => self.nothing(),
        }
    }

    /// As [`Self::custom`], without what an earlier planning of the same run has left.
    fn custom_plan(&mut self, command: Option<&str>, places: &Places) {
        let json = self.argument(places.plan_json());
        self.line(format_args!("rm -f -- {json}"));
        match command {
            Some(command) => self.subshell(command, " 2"),
            None => self.nothing(),
        }
    }

    /// An `exit` ends the subshell and not the phase. The command's grammar is checked first: a
    /// shell's exit code for a syntax error is 2, which of a plan means "changes".
    fn subshell(&mut self, command: &str, also_good: &str) {
        let command = self.argument(command);
        self.line(format_args!("/bin/sh -n -c {command} 3>&- || {{ printf 'syntax\\n' >&3; exit 2; }}"));
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("( eval {command} ) 3>&-"));
        self.line(format_args!("airlock_ended \"$?\"{also_good}"));
    }

    /// Looks for the vendor's program; gives what names it in the script.
    fn program(&mut self, vendor: &Vendor) -> String {
        let program = self.argument(binary(vendor).unwrap_or_default());
        self.line(format_args!("airlock_find {program}"));
        program
    }

    fn init(&mut self, vendor: &Vendor, workspace: Option<&str>) {
        let program = self.program(vendor);
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("{program} init -input=false 3>&-"));
        if let Some(workspace) = workspace.filter(|name| *name != "default") {
            let workspace = self.argument(workspace);
            self.line(format_args!(
                "case $? in 0) airlock_select {program} {workspace} 3>&- ;; *) airlock_ended \"$?\" ;; esac"
            ));
        }
        self.line(format_args!("airlock_ended \"$?\""));
    }

    fn plan(&mut self, vendor: &Vendor, targets: &[String], destroy: bool, kind: Kind, places: &Places) {
        let program = self.program(vendor);
        let plan = self.argument(places.plan());
        let json = self.argument(places.plan_json());
        let mut options = vec![self.argument(format!("-out={}", places.plan()))];
        if matches!(kind, Kind::Proposed | Kind::Drift) {
            options.push("-lock=false".to_owned());
        }
        if destroy {
            options.push("-destroy".to_owned());
        }
        for target in targets {
            options.push(self.argument(format!("-target={target}")));
        }
        let options = options.join(" ");
        self.line(format_args!("rm -f -- {plan} {json}"));
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("{program} plan -input=false -detailed-exitcode {options} 3>&-"));
        self.line(format_args!("case $? in"));
        for code in [0, 2] {
            self.line(format_args!(
                "{code}) airlock_show {program} {plan} {json} 3>&- || airlock_ended 1; airlock_ended {code} 2 ;;"
            ));
        }
        self.line(format_args!("*) airlock_ended \"$?\" ;;"));
        self.line(format_args!("esac"));
    }

    fn apply(&mut self, vendor: &Vendor, places: &Places) {
        let program = self.program(vendor);
        let plan = self.argument(places.plan());
        self.line(format_args!("airlock_begins"));
        self.line(format_args!("{program} apply -input=false {plan} 3>&-"));
        self.line(format_args!("airlock_ended \"$?\""));
    }

    fn finish(self) -> Script {
        let mut text = FUNCTIONS.to_owned();
        for n in 1..=self.arguments.len() {
            text.push_str(&format!("readonly airlock_{n}=\"${{{n}}}\"\n"));
        }
        text.push_str("set --\n");
        text.push_str(&self.text);
        Script { text, arguments: self.arguments }
    }
}
