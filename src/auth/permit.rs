//! The proof that an actor may do one thing to one object.

use super::{Who, who::Workload};
use crate::{
    domain::{
        Refused, RefusedKind, Role, StackId, Timestamp,
        authorization::{Authorization, AuthorizedAction},
    },
    store::{Fault, Rows},
};

/// Everything that can be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    See,
    Comment,
    Trigger,
    Perform,
    RunDeclared,
    Cancel,
    Stop,
    Confirm,
    Discard,
    Replan,
    Review,
    Prioritize,
    Promote,
    Acknowledge,
    ForceStop,
    Lock,
    UnlockAnother,
    EditEnvironment,
    UploadSource,
    EditStack,
    DeleteStack,
    AttachContext,
    UseState,
    CreateStack,
    ManageUsers,
    SeeKeys,
    ManageKeys,
    ManageCredentials,
    ManageGuests,
    ManageServices,
    ManageRunTasks,
    AttachRunTasks,
    OverrideRunTasks,
    ManagePolicies,
    ManageWebhooks,
    ManageContexts,
    ManageImages,
    SeeAudit,
    SeeSystem,
    ManageSystem,
}

/// What an actor needs to have.
enum Need {
    Role(Role),
    GlobalAdmin,
}

impl Permission {
    const fn need(self) -> Need {
        match self {
            Self::See | Self::Comment => Need::Role(Role::Reader),
            Self::Trigger
            | Self::Perform
            | Self::RunDeclared
            | Self::Cancel
            | Self::Stop
            | Self::Confirm
            | Self::Discard
            | Self::Replan
            | Self::Review
            | Self::Prioritize
            | Self::Promote
            | Self::Acknowledge
            | Self::Lock
            | Self::EditEnvironment
            | Self::UseState
            | Self::UploadSource => Need::Role(Role::Writer),
            Self::ForceStop
            | Self::UnlockAnother
            | Self::EditStack
            | Self::DeleteStack
            | Self::AttachRunTasks
            | Self::OverrideRunTasks
            | Self::AttachContext => Need::Role(Role::Admin),
            Self::CreateStack
            | Self::ManageUsers
            | Self::SeeKeys
            | Self::ManageKeys
            | Self::ManageCredentials
            | Self::ManageGuests
            | Self::ManageServices
            | Self::ManageRunTasks
            | Self::ManagePolicies
            | Self::ManageWebhooks
            | Self::ManageContexts
            | Self::ManageImages
            | Self::SeeAudit
            | Self::SeeSystem
            | Self::ManageSystem => Need::GlobalAdmin,
        }
    }

    /// What it is, after "may" and "to".
    pub const fn word(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Comment => "comment",
            Self::Trigger => "trigger",
            Self::Perform => "perform a task",
            Self::RunDeclared => "run a declared task",
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Confirm => "confirm",
            Self::Discard => "discard",
            Self::Replan => "replan",
            Self::Review => "review",
            Self::Prioritize => "prioritize",
            Self::Promote => "promote",
            Self::Acknowledge => "acknowledge",
            Self::ForceStop => "force a stop",
            Self::Lock => "lock",
            Self::UnlockAnother => "release another's lock",
            Self::EditEnvironment => "edit the environment",
            Self::UploadSource => "upload a source",
            Self::EditStack => "change the settings",
            Self::DeleteStack => "delete the stack",
            Self::AttachContext => "attach contexts",
            Self::UseState => "use the state",
            Self::CreateStack => "create stacks",
            Self::ManageUsers => "manage users",
            Self::SeeKeys => "see API keys",
            Self::ManageKeys => "manage API keys",
            Self::ManageCredentials => "manage credentials",
            Self::ManageGuests => "manage guests",
            Self::ManageServices => "manage services",
            Self::ManageRunTasks => "manage run tasks",
            Self::AttachRunTasks => "attach run tasks",
            Self::OverrideRunTasks => "override run tasks",
            Self::ManagePolicies => "manage policies",
            Self::ManageWebhooks => "manage webhooks",
            Self::ManageContexts => "manage contexts",
            Self::ManageImages => "manage images",
            Self::SeeAudit => "see the audit log",
            Self::SeeSystem => "see the system page",
            Self::ManageSystem => "manage the system",
        }
    }

    /// The verb in the audit log.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Comment => "run.comment",
            Self::Trigger => "run.trigger",
            Self::Perform => "task.perform",
            Self::RunDeclared => "task.run",
            Self::Cancel => "run.cancel",
            Self::Stop => "run.stop",
            Self::Confirm => "run.confirm",
            Self::Discard => "run.discard",
            Self::Replan => "run.replan",
            Self::Review => "run.review",
            Self::Prioritize => "run.prioritize",
            Self::Promote => "run.promote",
            Self::Acknowledge => "run.acknowledge",
            Self::ForceStop => "run.force_stop",
            Self::Lock => "stack.lock",
            Self::UnlockAnother => "stack.unlock",
            Self::EditEnvironment => "environment.set",
            Self::UploadSource => "source.upload",
            Self::EditStack => "stack.edit",
            Self::DeleteStack => "stack.delete",
            Self::AttachContext => "context.attach",
            Self::UseState => "state.use",
            Self::CreateStack => "stack.create",
            Self::ManageUsers => "user.manage",
            Self::SeeKeys => "api_key.see",
            Self::ManageKeys => "api_key.manage",
            Self::ManageCredentials => "credential.manage",
            Self::ManageGuests => "guest.manage",
            Self::ManageServices => "service.manage",
            Self::ManageRunTasks => "run_task.manage",
            Self::AttachRunTasks => "run_task.attach",
            Self::OverrideRunTasks => "run_task.override",
            Self::ManagePolicies => "policy.manage",
            Self::ManageWebhooks => "webhook.manage",
            Self::ManageContexts => "context.manage",
            Self::ManageImages => "image.manage",
            Self::SeeAudit => "audit.see",
            Self::SeeSystem => "system.see",
            Self::ManageSystem => "system.manage",
        }
    }

    /// Whether the password must have been shown lately.
    const fn is_dangerous(self) -> bool {
        matches!(self, Self::ManageKeys | Self::DeleteStack | Self::ManageSystem)
    }
}

/// What something is permitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Stack(StackId),
    Installation,
}

/// The proof. Only [`permit`] makes one; it is checked once more inside the transaction.
#[derive(Clone, Debug)]
pub struct Permit {
    who: Who,
    permission: Permission,
    on: On,
}

impl Permit {
    pub const fn who(&self) -> &Who {
        &self.who
    }

    pub const fn permission(&self) -> Permission {
        self.permission
    }

    pub const fn on(&self) -> On {
        self.on
    }

    /// The stack that this permit is about.
    pub fn stack(&self) -> Result<StackId, Refused> {
        match self.on {
            On::Stack(stack) => Ok(stack),
            On::Installation => Err(Refused::forbidden("this permit is about no stack")),
        }
    }

    /// Refuses when this permit is about another stack.
    pub fn covers(&self, stack: StackId) -> Result<(), Refused> {
        match self.on {
            On::Stack(permitted) if permitted == stack => Ok(()),
            On::Stack(_) | On::Installation => Err(Refused::forbidden("this permit is about another stack")),
        }
    }

    /// Whether the store, as the transaction sees it, still allows it.
    pub fn still_holds(&self, view: &impl Rows, now: Timestamp) -> Result<Result<(), Refused>, Fault> {
        let Some(who) = self.who.again(view, now)? else {
            return Ok(Err(Refused::new(RefusedKind::Unauthenticated, "your access was revoked meanwhile")));
        };
        Ok(allows(&who, self.permission, self.on))
    }

    /// A permit of the system itself, for what nobody asked for: start-up, expiry, retention.
    pub const fn of_system(permission: Permission, on: On) -> Self {
        Self { who: Who::system(), permission, on }
    }
}

/// Whether `who` may do it. What they may not see does not exist for them.
pub fn permit(who: &Who, permission: Permission, on: On, now: Timestamp) -> Result<Permit, Refused> {
    allows(who, permission, on)?;
    if permission.is_dangerous() && !who.is_fresh(now) {
        return Err(Refused::new(
            RefusedKind::Reauthenticate,
            format!("to {} show your password once more: you signed in more than 10 minutes ago", permission.word()),
        ));
    }
    Ok(Permit { who: who.clone(), permission, on })
}

fn allows(who: &Who, permission: Permission, on: On) -> Result<(), Refused> {
    if let Some(workload) = who.workload() {
        return allows_workload(workload, permission, on);
    }
    match (permission.need(), on) {
        (Need::GlobalAdmin, _) if who.admin => Ok(()),
        (Need::GlobalAdmin, _) => Err(Refused::forbidden(format!("only admins may {}", permission.word()))),
        (Need::Role(need), On::Stack(stack)) => match who.role_on(stack) {
            Some(role) if role >= need => Ok(()),
            Some(role) => Err(Refused::forbidden(format!(
                "to {} you need the role {need} on this stack; you have {role}",
                permission.word()
            ))),
            None => Err(Refused::not_found("what you asked for")),
        },
        (Need::Role(_), On::Installation) => Ok(()),
    }
}

/// What a running declared task may do: no role, only what its declaration authorizes, on its own
/// stack. Which task it may trigger is looked at where that is known.
fn allows_workload(workload: &Workload, permission: Permission, on: On) -> Result<(), Refused> {
    let operates_tasks = || {
        let operates = |authorization: &Authorization| authorization.action == AuthorizedAction::Operate;
        workload.authorizations.iter().any(|one| operates(one) && !one.views_environment())
    };
    let allowed = on == On::Stack(workload.stack)
        && match permission {
            Permission::See => !workload.authorizations.is_empty(),
            Permission::RunDeclared => operates_tasks(),
            Permission::Cancel | Permission::EditEnvironment => workload.operates_environment(),
            _ => false,
        };
    if allowed {
        return Ok(());
    }
    let why = format!("the `authorizations` of this task do not let it {}", permission.word());
    Err(Refused::forbidden(why))
}
