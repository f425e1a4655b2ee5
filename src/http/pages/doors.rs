//! Coming in: set-up, invitations, signing in, out, and once more.

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};

use super::{
    cookies::{self, Carried},
    sent::{Asked, Form, Sent, Wrong, sentence},
    visitor::{Answer, Visitor, html, redirect},
};
use crate::{
    actions::{Error, InvitationFor, Secret, SignIn, SignedIn},
    domain::{FieldError, Refused, RefusedKind, UserName},
    http::{
        Problem, SETUP_LINK, Web,
        extract::{cookie, session_cookie},
        shield::From as Sender,
        view::{
            Frame, InvitationPage, ReauthenticatePage, SetupPage, SignInPage,
            account::{NewUserForm, SignInForm},
            form::Fields as _,
            frame::Theme,
            status::Moment,
        },
    },
    queries::SessionKind,
};

/// Characters of an address to go back to.
const NEXT_CHARS: usize = 4_000;

/// Whether a text is a path of this site, and nothing that a browser takes for another one.
pub fn is_ours(path: &str) -> bool {
    let inside = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/\\");
    inside && path.len() <= NEXT_CHARS && !path.contains(|c: char| c.is_control() || c == '\\')
}

/// Where to go after signing in: a page of ours, and not a door.
pub fn safe_next(text: &str) -> String {
    let door = ["/sign-in", "/sign-out", "/setup", "/invitation", "/live/", "/api/"];
    let fits = is_ours(text) && text.is_ascii() && !door.iter().any(|door| text.starts_with(door));
    if fits { text.to_owned() } else { "/".to_owned() }
}

/// Somebody at the door: nobody yet.
#[derive(Clone, Debug)]
pub struct Stranger {
    theme: Theme,
    address: Option<std::net::IpAddr>,
    agent: String,
    /// The token of a session that the new one replaces.
    old: Option<String>,
}

impl FromRequestParts<Web> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let headers: &HeaderMap = &parts.headers;
        Ok(Self {
            theme: Theme::from_word(cookie(headers, Theme::COOKIE).unwrap_or_default()),
            address: parts.extensions.get::<Sender>().and_then(|from| from.0),
            agent: headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned(),
            old: cookie(headers, session_cookie(web)).map(str::to_owned),
        })
    }
}

impl Stranger {
    pub fn frame(&self, web: &Web, subject: &str, path: &str) -> Frame {
        Frame::bare(subject, path, self.theme, web.queries.now())
    }

    /// Opens a session with name and password.
    async fn sign_in(&self, web: &Web, user: &str, password: Secret<String>) -> Result<SignedIn, Error> {
        let shown = SignIn {
            user: user.to_owned(),
            password,
            kind: SessionKind::Cookie,
            address: self.address,
            agent: self.agent.clone(),
        };
        web.actions.sign_in(shown).await
    }

    /// Sets the new session's cookie; the one it replaces is over.
    async fn come_in(&self, web: &Web, signed_in: &SignedIn, to: &str) -> Answer {
        if let Some(old) = &self.old
            && let Some(who) = web.queries.authenticate(old, self.address)?
        {
            web.actions.sign_out(&who).await?;
        }
        let mut response = redirect(to);
        cookies::sign_in(web, &mut response, signed_in.token.expose());
        Ok(response)
    }
}

// ── Signing in ──────────────────────────────────────────────────────────────────────────────

pub async fn sign_in(
    State(web): State<Web>,
    visitor: Option<Visitor>,
    stranger: Stranger,
    Asked(asked): Asked,
) -> Answer {
    let next = safe_next(asked.text("next"));
    if visitor.is_some() {
        return Ok(redirect(&next));
    }
    let page = sign_in_page(&web, &stranger, next);
    html(StatusCode::OK, &page)
}

fn sign_in_page(web: &Web, stranger: &Stranger, next: String) -> SignInPage {
    SignInPage { frame: stranger.frame(web, "Sign in", "/sign-in"), next, form: SignInForm::new(), refused: None }
}

pub async fn post_sign_in(State(web): State<Web>, stranger: Stranger, Form(sent): Form) -> Answer {
    let next = safe_next(sent.text("next"));
    let password = Secret::new(sent.text("password").to_owned());
    match stranger.sign_in(&web, sent.text("username").trim(), password).await {
        Ok(signed_in) => stranger.come_in(&web, &signed_in, &next).await,
        Err(Error::Refused(refused)) if matches!(refused.kind, RefusedKind::Unauthenticated | RefusedKind::TooMany) => {
            let mut page = sign_in_page(&web, &stranger, next);
            page.form.keep(sent.pairs());
            page.refused = Some(format!("{}.", sentence(&refused.detail)));
            let retry_after = refused.retry_after;
            Ok(until(retry_after, html(Problem::from(refused).status(), &page)?))
        }
        Err(other) => Err(other.into()),
    }
}

/// Says when it is worth trying again, where that is known.
fn until(retry_after: Option<u16>, mut response: Response) -> Response {
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

pub async fn sign_out(State(web): State<Web>, visitor: Option<Visitor>) -> Answer {
    let mut response = redirect("/sign-in");
    if let Some(visitor) = visitor {
        web.actions.sign_out(&visitor.who).await?;
    }
    cookies::sign_out(&web, &mut response);
    Ok(response)
}

// ── Once more ───────────────────────────────────────────────────────────────────────────────

/// What a recent sign-in is asked for, by the page that asks.
fn purpose(next: &str) -> String {
    let path = next.split('?').next().unwrap_or_default();
    match path.strip_prefix("/stacks/").and_then(|rest| rest.strip_suffix("/settings")) {
        Some(slug) => format!("delete the stack {slug}"),
        None if path == "/admin/keys" => "make or revoke an API key".to_owned(),
        None => "go on".to_owned(),
    }
}

/// Asks for the password once more, and comes back with what was typed (never a secret).
pub fn again(path: &str, sent: &Sent) -> Answer {
    let next = sent.address(path, &["do", "once"]);
    let mut query = Sent::default();
    query.push("next", next);
    Ok(redirect(&query.address("/sign-in/again", &[])))
}

/// Whether a refusal only asks for a more recent sign-in.
pub fn wants_again(problem: &Problem) -> bool {
    problem.kind == "reauthenticate"
}

fn again_page(visitor: &Visitor, next: String) -> Result<ReauthenticatePage, Problem> {
    Ok(ReauthenticatePage {
        frame: visitor.frame(crate::http::view::frame::Place::Elsewhere, "Is it you?", Vec::new())?,
        purpose: purpose(&next),
        username: visitor.who.actor.name().to_owned(),
        next,
        password: ReauthenticatePage::password_field(),
        refused: None,
    })
}

pub async fn get_again(visitor: Visitor, Asked(asked): Asked) -> Answer {
    let page = again_page(&visitor, safe_next(asked.text("next")))?;
    visitor.page(&page)
}

pub async fn post_again(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let next = safe_next(sent.text("next"));
    let password = Secret::new(sent.text("password").to_owned());
    match web.actions.reauthenticate(&visitor.who, password).await {
        Ok(()) => visitor.done(&next, Carried::good("It is you. Go on within the next 10 minutes.")),
        Err(Error::Refused(refused)) if matches!(refused.kind, RefusedKind::Invalid | RefusedKind::TooMany) => {
            let mut page = again_page(&visitor, next)?;
            page.refused = Some(match refused.kind {
                RefusedKind::Invalid => "The password is wrong.".to_owned(),
                _ => format!("{}.", sentence(&refused.detail)),
            });
            let retry_after = refused.retry_after;
            Ok(until(retry_after, visitor.page_with(Problem::from(refused).status(), &page)?))
        }
        Err(other) => Err(other.into()),
    }
}

// ── Set-up and invitations ──────────────────────────────────────────────────────────────────

const SPENT: &str = "This link was used already, or is too old.";

/// Passwords are typed twice: a slip is found at once.
pub fn repeat_error(sent: &Sent) -> Option<FieldError> {
    let differs = sent.text("password") != sent.text("repeat");
    differs.then(|| FieldError { field: "repeat".to_owned(), error: "is not the same".to_owned() })
}

fn setup_page(web: &Web, stranger: &Stranger, token: &str) -> SetupPage {
    SetupPage {
        frame: stranger.frame(web, "Set up", "/setup"),
        token: token.to_owned(),
        form: NewUserForm::new(),
        refused: None,
        problems: Vec::new(),
    }
}

pub async fn setup(State(web): State<Web>, stranger: Stranger, Asked(asked): Asked) -> Answer {
    let token = asked.text("token");
    match web.actions.invitation(token, stranger.address)? {
        Some(InvitationFor::FirstAdmin) => html(StatusCode::OK, &setup_page(&web, &stranger, token)),
        Some(InvitationFor::User(_)) => Ok(redirect(&asked.address("/invitation", &[]))),
        None => spent_setup(&web, &stranger),
    }
}

fn spent_setup(web: &Web, stranger: &Stranger) -> Answer {
    let page = SetupPage { refused: Some(SPENT.to_owned()), ..setup_page(web, stranger, "") };
    html(StatusCode::NOT_FOUND, &page)
}

pub async fn post_setup(State(web): State<Web>, stranger: Stranger, Form(sent): Form) -> Answer {
    let token = sent.text("token");
    if web.actions.invitation(token, stranger.address)? != Some(InvitationFor::FirstAdmin) {
        return spent_setup(&web, &stranger);
    }
    let name = UserName::new(sent.text("username").trim());
    let mut errors: Vec<FieldError> = repeat_error(&sent).into_iter().collect();
    if let Err(error) = &name {
        errors.push(FieldError { field: "username".to_owned(), error: error.to_string() });
    }
    let wrong = match (errors.is_empty(), name) {
        (true, Ok(name)) => match accept(&web, &stranger, token, Some(name), &sent).await? {
            Ok(response) => {
                forget_link(&web);
                return Ok(response);
            }
            Err(wrong) => wrong,
        },
        _ => Refused::fields(errors).into(),
    };
    let mut page = setup_page(&web, &stranger, token);
    page.form.keep(sent.pairs());
    page.problems = wrong.renamed(&[("name", "username")]).blame(&mut page.form);
    html(wrong.status, &page)
}

/// The file beside the data holds a link that works no more.
fn forget_link(web: &Web) {
    let path = web.actions.setup().data.join(SETUP_LINK);
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the file with the set-up link could not be removed");
    }
}

/// Chooses the password, and comes in with it.
async fn accept(
    web: &Web,
    stranger: &Stranger,
    token: &str,
    name: Option<UserName>,
    sent: &Sent,
) -> Result<Result<Response, Wrong>, Problem> {
    let password = Secret::new(sent.text("password").to_owned());
    match web.actions.accept_invitation(token, name, password.clone(), stranger.address).await {
        Ok(name) => {
            let signed_in = stranger.sign_in(web, name.as_str(), password).await?;
            let mut response = stranger.come_in(web, &signed_in, "/").await?;
            Carried::good(format!("Welcome, {name}.")).carry(web, &mut response);
            Ok(Ok(response.into_response()))
        }
        Err(error) => Ok(Err(Wrong::of(error)?)),
    }
}

fn invitation_page(web: &Web, stranger: &Stranger, token: &str, name: &str) -> Result<InvitationPage, Problem> {
    let by = web.actions.invited_by(token)?;
    Ok(InvitationPage {
        frame: stranger.frame(web, "Invitation", "/invitation"),
        token: token.to_owned(),
        username: name.to_owned(),
        invited_by: by.as_ref().map(|(by, _)| by.name.clone()).unwrap_or_default(),
        expires: by.map(|(_, at)| Moment::new(at, web.queries.now())),
        form: NewUserForm::new(),
        refused: None,
        problems: Vec::new(),
    })
}

fn spent_invitation(web: &Web, stranger: &Stranger) -> Answer {
    let page = InvitationPage { refused: Some(SPENT.to_owned()), ..invitation_page(web, stranger, "", "")? };
    html(StatusCode::NOT_FOUND, &page)
}

pub async fn invitation(State(web): State<Web>, stranger: Stranger, Asked(asked): Asked) -> Answer {
    let token = asked.text("token");
    match web.actions.invitation(token, stranger.address)? {
        Some(InvitationFor::User(name)) => {
            let mut page = invitation_page(&web, &stranger, token, name.as_str())?;
            page.form.password.autofocus = true;
            html(StatusCode::OK, &page)
        }
        Some(InvitationFor::FirstAdmin) => Ok(redirect(&asked.address("/setup", &[]))),
        None => spent_invitation(&web, &stranger),
    }
}

pub async fn post_invitation(State(web): State<Web>, stranger: Stranger, Form(sent): Form) -> Answer {
    let token = sent.text("token");
    let Some(InvitationFor::User(name)) = web.actions.invitation(token, stranger.address)? else {
        return spent_invitation(&web, &stranger);
    };
    let wrong = match repeat_error(&sent) {
        Some(error) => Refused::fields(vec![error]).into(),
        None => match accept(&web, &stranger, token, None, &sent).await? {
            Ok(response) => return Ok(response),
            Err(wrong) => wrong,
        },
    };
    let mut page = invitation_page(&web, &stranger, token, name.as_str())?;
    page.problems = wrong.blame(&mut page.form);
    html(wrong.status, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_led_to_another_site_or_back_to_a_door() {
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "javascript:alert(1)",
            "/a\r\nset-cookie: x",
            "/sign-in?next=/",
            "/sign-out",
            "/live/home",
            "evil",
            "/x\\y",
        ] {
            assert_eq!(safe_next(bad), "/", "{bad}");
        }
        for good in ["/", "/stacks/shop?tab=x#L1", "/runs/run_01K?a=%2F%2Fevil"] {
            assert_eq!(safe_next(good), good);
        }
    }

    #[test]
    fn a_page_that_asks_for_the_password_once_more_says_what_for() {
        assert_eq!(purpose("/stacks/shop/settings?confirm=shop"), "delete the stack shop");
        assert_eq!(purpose("/admin/keys?name=ci"), "make or revoke an API key");
    }
}
