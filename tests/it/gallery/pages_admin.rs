//! Audit, administration, account, doors, errors, docs.

use airlock::{
    domain::{ActorKind, FieldError, Look, Role},
    http::view::{
        AccountPage, ApiDocsPage, AuditPage, CredentialsPage, ErrorPage, Frame, InvitationPage, KeysPage,
        ReauthenticatePage, ServicesPage, SetupPage, SignInPage, UsersPage,
        account::{NewUserForm, PasswordForm, SessionRow, SignInForm},
        admin::{
            AuditFilter, AuditRow, ChainState, CredentialForm, CredentialRow, InviteForm, KeyForm, KeyRow, Once,
            RoleGrid, UserRow, admin_tabs,
        },
        declared::{ServiceForm, ServiceRow},
        docs::{Operation, OperationGroup, Parameter},
        form::Fields,
        frame::{Crumb, Pager, Place, Theme},
        status::Badge,
    },
};

use super::{Page, page, sample::*};

pub fn all(theme: Theme) -> Vec<Page> {
    let mut pages =
        vec![page("audit", &audit(theme)), page("docs-api", &docs(theme)), page("account", &account(theme))];
    pages.extend(admin(theme));
    pages.extend(doors(theme));
    for status in [403, 404, 409, 413, 422, 429, 500, 503] {
        let frame = frame(theme, "", Place::Elsewhere, "/", vec![Crumb::here("Error")]);
        let error = ErrorPage::new(frame, status, "run #42 is applying: it cannot be discarded any more", "01KREQ7Q2M");
        pages.push(page(&format!("error-{status}"), &error));
    }
    let outside = ErrorPage::new(Frame::bare("", "/", theme, NOW), 404, "", "01KREQ7Q2M");
    pages.push(page("error-outside", &outside));
    pages
}

fn admin_frame(theme: Theme, word: &str, path: &str) -> Frame {
    frame(theme, word, Place::Admin, path, vec![Crumb::link("Admin", "/admin/users"), Crumb::here(word)])
}

fn audit(theme: Theme) -> AuditPage {
    let row = |number: u64, kind, who: &str, verb: &str, object: &str, refused, detail: &str| AuditRow {
        number,
        at: ago((12_031 - number as i64) * 300 + 20),
        actor: mark(kind, who),
        address: Some("10.0.4.17".into()),
        verb: verb.into(),
        object: (object.into(), Some("/stacks/shop".into())),
        refused,
        detail: detail.into(),
        hash: format!("{:08x}", number * 2_654_435_761 % 0xffff_ffff),
    };
    AuditPage {
        frame: frame(theme, "Audit", Place::Audit, "/audit", vec![Crumb::here("Audit")]),
        filter: AuditFilter::new(),
        chain: ChainState {
            badge: good("The chain holds"),
            text: "12\u{202f}031 entries, verified 2 h ago".into(),
            head: "9c41e07b".into(),
        },
        rows: vec![
            row(12_031, ActorKind::User, "reviewer", "run.confirm", "run #42 · shop", false, "note: go"),
            row(12_030, ActorKind::User, "lee", "run.confirm", "run #42 · shop", true, "needs writer on shop"),
            row(12_029, ActorKind::ApiKey, "ci-deploy", "run.trigger", "run #42 · shop", false, "tracked, 4f2c1e9"),
            row(12_028, ActorKind::System, "Airlock", "run.discard", "run #12 · mail", false, "unconfirmed for 7 days"),
            row(12_027, ActorKind::User, "ops-lead", "stack.environment.set", "DB_PASSWORD · shop", false, "sensitive"),
        ],
        export: "/api/v1/audit?format=jsonl".into(),
        pager: Pager { newest: None, older: Some("/audit?cursor=12027".into()) },
        partial: false,
        empty: empty("", ""),
    }
}

fn grid() -> RoleGrid {
    RoleGrid {
        rows: vec![
            ("shop".into(), "Shop".into(), Some(Role::Writer)),
            ("dns".into(), "DNS".into(), None),
            ("edge-eu".into(), "Edge EU".into(), Some(Role::Reader)),
        ],
    }
}

fn users(theme: Theme) -> UsersPage {
    let user = |name: &str, badge, roles: &str| UserRow {
        name: name.into(),
        me: false,
        admin: false,
        badge,
        roles: roles.into(),
        grid: grid(),
        last_seen: Some(ago(4_000)),
        disabled: false,
        invited: false,
        sessions: vec![],
        all_sessions: None,
    };
    let session = |client: &str, address: &str| SessionRow {
        id: "session_01K00000000000000000000003".into(),
        client: client.into(),
        address: address.into(),
        signed_in: ago(90_000),
        last_used: ago(4_000),
        this: false,
    };
    let sessions = vec![session("Firefox on Linux", "10.0.3.17"), session("a program", "10.0.3.18")];
    UsersPage {
        frame: admin_frame(theme, "Users", "/admin/users"),
        tabs: admin_tabs("Users"),
        users: vec![
            UserRow { me: true, admin: true, ..user("ops-lead", good("Active"), "") },
            UserRow { sessions, ..user("dana", good("Active"), "writer on shop, reader on 3 stacks") },
            UserRow {
                invited: true,
                last_seen: None,
                ..user("lee", Badge::new(Look::Waiting, "Invited"), "no role yet")
            },
            UserRow { disabled: true, ..user("former", Badge::new(Look::Dropped, "Disabled"), "reader on dns") },
        ],
        invite: InviteForm::new(),
        once: Some(Once {
            title: "An invitation for lee".into(),
            text: "Send it by a safe way. It is shown only now and works until 2026-02-06 14:05 UTC.".into(),
            value: "https://airlock.example.org/invitation?token=VfQ3mB0kqS7n2cXr8yLw5tAeJh1uZp4d".into(),
        }),
        problems: vec![],
    }
}

fn admin(theme: Theme) -> Vec<Page> {
    let key = |name: &str, badge, admin, revoked: bool| KeyRow {
        id: "key_01K00000000000000000000007".into(),
        name: name.into(),
        admin,
        roles: "writer on shop".into(),
        created: ago(900_000),
        by: person("ops-lead"),
        expires: Some(ago(-5_000_000)),
        last_used: (!revoked).then(|| ago(120)),
        badge,
        revoked,
    };
    let keys = KeysPage {
        frame: admin_frame(theme, "API keys", "/admin/keys"),
        tabs: admin_tabs("API keys"),
        keys: vec![
            key("ci-deploy", good("Active"), false, false),
            key("old-ci", Badge::new(Look::Dropped, "Revoked"), true, true),
        ],
        form: KeyForm::new(),
        grid: RoleGrid::default(),
        once: Some(Once {
            title: "The secret of ci-deploy".into(),
            text: "It is shown only now. Whoever has it may do what the key may do.".into(),
            value: "ak_VfQ3mB0kqS7n2cXr8yLw5tAeJh1uZp4dG6oTi9Rb".into(),
        }),
        problems: vec![],
        empty: empty(
            "No keys yet",
            "Programs use keys instead of passwords. Each has its own roles and can be revoked.",
        ),
    };
    let no_keys = KeysPage { keys: vec![], once: None, grid: grid(), ..keys.clone() };
    let mut form = CredentialForm::new();
    form.kind.value = "ssh".into();
    form.known_hosts.error = Some("holds no line for git.example.org".into());
    let credentials = CredentialsPage {
        frame: admin_frame(theme, "Credentials", "/admin/credentials"),
        tabs: admin_tabs("Credentials"),
        credentials: vec![CredentialRow {
            name: "infra-read".into(),
            kind: "HTTPS token",
            detail: "ops-bot".into(),
            stacks: vec![("shop".into(), "Shop".into(), true), ("dns".into(), "DNS".into(), false)],
            created: ago(4_000_000),
            by: person("ops-lead"),
        }],
        form,
        stacks: vec![("shop".into(), "Shop".into(), true), ("dns".into(), "DNS".into(), false)],
        problems: vec![],
        empty: empty("", ""),
    };
    vec![
        page("users", &users(theme)),
        page("keys", &keys),
        page("keys-none", &no_keys),
        page("credentials", &credentials),
        page("services", &services(theme)),
    ]
}

fn services(theme: Theme) -> ServicesPage {
    let mut form = ServiceForm::new();
    form.port.error = Some("must be 1 to 65535".into());
    ServicesPage {
        frame: admin_frame(theme, "Services", "/admin/services"),
        tabs: admin_tabs("Services"),
        services: vec![ServiceRow {
            name: "maindb".into(),
            scheme: "postgresql".into(),
            address: "db.internal:5432".into(),
            detail: "as app, with a password".into(),
            updated: ago(4_000),
        }],
        form,
        problems: vec![],
        empty: empty("", ""),
    }
}

fn account(theme: Theme) -> AccountPage {
    let session = |id: &str, client: &str, this| SessionRow {
        id: id.into(),
        client: client.into(),
        address: "10.0.4.17".into(),
        signed_in: ago(40_000),
        last_used: ago(4),
        this,
    };
    let mut password = PasswordForm::new();
    password.password.error = Some("has 9 characters; at least 12 are needed".into());
    AccountPage {
        frame: frame(theme, "Account", Place::Account, "/account", vec![Crumb::here("Account")]),
        name: "ops-lead".into(),
        role: "administrator".into(),
        sessions: vec![
            session("session_1", "Firefox on Linux", true),
            session("session_2", "airlock command line", false),
        ],
        password,
        problems: vec![],
    }
}

fn doors(theme: Theme) -> Vec<Page> {
    let bare = |subject: &str, path: &str| Frame::bare(subject, path, theme, NOW);
    let setup = SetupPage {
        frame: bare("Set up", "/setup"),
        token: "t".into(),
        form: NewUserForm::new(),
        refused: None,
        problems: vec![],
    };
    let used = SetupPage { refused: Some("This link has been used.".into()), ..setup.clone() };
    let mut wrong = setup.clone();
    wrong.form.username.value = "ops lead".into();
    let error = |field: &str, error: &str| FieldError { field: field.into(), error: error.into() };
    let homeless = wrong.form.blame(&[
        error("username", "holds ` `; only letters, digits and - _ . @ + are allowed"),
        error("repeat", "is not the same"),
    ]);
    assert_eq!(homeless, Vec::<String>::new());
    assert_eq!(wrong.form.wrong().len(), 2);
    let sign_in =
        SignInPage { frame: bare("Sign in", "/sign-in"), next: "/".into(), form: SignInForm::new(), refused: None };
    let refused = SignInPage { refused: Some("Name or password is wrong.".into()), ..sign_in.clone() };
    let invitation = InvitationPage {
        frame: bare("Invitation", "/invitation"),
        token: "t".into(),
        username: "lee".into(),
        invited_by: "ops-lead".into(),
        expires: Some(ago(-200_000)),
        form: NewUserForm::new(),
        refused: None,
        problems: vec![],
    };
    let again = ReauthenticatePage {
        frame: bare("Sign in again", "/sign-in/again"),
        purpose: "delete the stack shop".into(),
        username: "ops-lead".into(),
        next: "/stacks/shop/settings".into(),
        password: ReauthenticatePage::password_field(),
        refused: None,
    };
    vec![
        page("setup", &setup),
        page("setup-used", &used),
        page("setup-refused", &wrong),
        page("sign-in", &sign_in),
        page("sign-in-refused", &refused),
        page("invitation", &invitation),
        page("reauthenticate", &again),
    ]
}

fn docs(theme: Theme) -> ApiDocsPage {
    let operation = |id: &str, method: &str, path: &str, summary: &str| Operation {
        id: id.into(),
        method: method.into(),
        path: path.into(),
        summary: summary.into(),
        text: "Nothing changes when the state does not allow it.".into(),
        parameters: vec![Parameter { name: "run".into(), place: "path", required: true, text: "The run's id.".into() }],
        answers: vec![(200, "The run".into()), (409, "The present state does not allow it".into())],
        example: Some("{\"note\": \"go\"}".into()),
    };
    ApiDocsPage {
        frame: frame(theme, "API", Place::Elsewhere, "/docs/api", vec![Crumb::here("API")]),
        version: "1.0".into(),
        groups: vec![
            OperationGroup {
                id: "runs".into(),
                title: "Runs".into(),
                operations: vec![
                    operation("get-run", "GET", "/runs/{run}", "One run"),
                    operation("confirm", "POST", "/runs/{run}/confirm", "Confirm an unconfirmed run"),
                ],
            },
            OperationGroup {
                id: "stacks".into(),
                title: "Stacks".into(),
                operations: vec![operation("delete", "DELETE", "/stacks/{stack}", "Delete a stack")],
            },
        ],
    }
}
