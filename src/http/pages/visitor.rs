//! Somebody who is signed in and reads a page; what stands around every page for them.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

use askama::Template;
use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{Html, IntoResponse as _, Response},
};
use ulid::Ulid;
use url::form_urlencoded;

use super::{
    cookies::{self, Carried},
    sent::Sent,
};
use crate::{
    actions::Once,
    auth::Who,
    http::{
        Problem, Web,
        extract::{self, Asker, session_cookie},
        shield::{From as Sender, RequestId},
        view::{
            Frame,
            frame::{Crumb, Me, Place, Theme},
            live::LiveHook,
        },
    },
};

/// What handlers of pages answer with.
pub type Answer = Result<Response, Problem>;

/// Somebody who is signed in by the session's cookie.
#[derive(Clone, Debug)]
pub struct Visitor {
    asker: Asker,
    pub path: String,
    pub token: String,
    theme: Theme,
    shortcuts: bool,
    /// What the page before left to say.
    pub carried: Carried,
    has_flash: bool,
    /// Where the reader comes from: a path of ours.
    pub from: Option<String>,
}

impl std::ops::Deref for Visitor {
    type Target = Asker;

    fn deref(&self) -> &Asker {
        &self.asker
    }
}

/// Asks a stranger to sign in first; a script that fetches a part of a page only learns that.
fn to_the_door(parts: &Parts) -> Response {
    if parts.headers.contains_key("hx-request") || parts.uri.path().starts_with("/live/") {
        return Problem::of_status(StatusCode::UNAUTHORIZED, "your session is over; sign in again").into_response();
    }
    let next = match parts.method {
        Method::GET => parts.uri.path_and_query().map_or("/", |text| text.as_str()),
        // A form is not sent again by itself: back to the page that it stands on.
        _ => parts.uri.path(),
    };
    let query: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    redirect(&if next == "/" { "/sign-in".to_owned() } else { format!("/sign-in?next={query}") })
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        match Self::find(parts, web).await.map_err(axum::response::IntoResponse::into_response)? {
            Some(visitor) => Ok(visitor),
            None => Err(to_the_door(parts)),
        }
    }
}

impl OptionalFromRequestParts<Web> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Option<Self>, Problem> {
        Self::find(parts, web).await
    }
}

impl Visitor {
    async fn find(parts: &Parts, web: &Web) -> Result<Option<Self>, Problem> {
        let Some(token) = extract::cookie(&parts.headers, session_cookie(web)) else { return Ok(None) };
        let address = parts.extensions.get::<Sender>().and_then(|from| from.0);
        let who = web.queries.authenticate(token, address)?.filter(|who| who.workload().is_none());
        let Some(who) = who else { return Ok(None) };
        web.actions.note_use(&who).await?;
        let who = web.actions.narrowed(who).await?;
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let cookie = |name: &str| extract::cookie(&parts.headers, name).unwrap_or_default();
        let flash = cookie(cookies::FLASH);
        Ok(Some(Self {
            path: parts.uri.path().to_owned(),
            token: token.to_owned(),
            theme: Theme::from_word(cookie(Theme::COOKIE)),
            shortcuts: cookie(cookies::SHORTCUTS) != "off",
            carried: Carried::read(flash).unwrap_or_default(),
            has_flash: !flash.is_empty(),
            from: referrer(parts),
            asker: Asker { who, web: web.clone(), request_id },
        }))
    }

    /// The frame of a page. Its last step is the page itself.
    pub fn frame(&self, place: Place, subject: impl Into<String>, crumbs: Vec<Crumb>) -> Result<Frame, Problem> {
        Ok(Frame {
            subject: subject.into(),
            badge: None,
            place,
            path: self.path.clone(),
            crumbs,
            theme: self.theme,
            me: Some(me(&self.who)),
            needs_you: self.web.queries.needs(&self.who)? as u64,
            flash: self.carried.flash(),
            shortcuts: self.shortcuts,
            now: self.web.queries.now(),
            live: None,
            once: Ulid::generate().to_string(),
        })
    }

    /// The same for a page that hears of changes.
    pub fn live_frame(
        &self,
        place: Place,
        subject: impl Into<String>,
        crumbs: Vec<Crumb>,
        live: String,
    ) -> Result<Frame, Problem> {
        Ok(Frame { live: Some(LiveHook::new(live)), ..self.frame(place, subject, crumbs)? })
    }

    /// A whole page. What the page before left to say is said.
    pub fn page(&self, page: &impl Template) -> Answer {
        self.page_with(StatusCode::OK, page)
    }

    /// A page that says what is wrong with the form that was sent to it.
    pub fn page_with(&self, status: StatusCode, page: &impl Template) -> Answer {
        let mut response = html(status, page)?;
        if self.has_flash {
            cookies::forget_flash(&self.web, &mut response);
        }
        Ok(response)
    }

    /// Leads on after something was done, and says what.
    pub fn done(&self, to: &str, carried: Carried) -> Answer {
        let mut response = redirect(to);
        carried.carry(&self.web, &mut response);
        Ok(response)
    }

    /// What makes a form that is sent twice harmless. Another form under the same key is another
    /// request: somebody went back and wrote something else.
    pub fn once(&self, sent: &Sent) -> Result<Option<Once>, Problem> {
        let Some(key) = sent.filled("once") else { return Ok(None) };
        let mut hasher = DefaultHasher::new();
        self.path.hash(&mut hasher);
        sent.pairs().hash(&mut hasher);
        let actor = format!("{}:{}", self.who.actor.kind().word(), self.who.actor.name());
        let key = format!("form-{}-{:x}", key.chars().take(40).collect::<String>(), hasher.finish());
        Ok(Some(Once::new(&actor, &key, &[self.path.as_bytes()])?))
    }
}

/// Who is signed in, for the frame.
pub fn me(who: &Who) -> Me {
    Me { name: who.actor.name().to_owned(), admin: who.admin }
}

fn referrer(parts: &Parts) -> Option<String> {
    let text = parts.headers.get(header::REFERER)?.to_str().ok()?;
    let url = url::Url::parse(text).ok()?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    super::doors::is_ours(&path).then_some(path)
}

/// A page, or a part of one.
pub fn html(status: StatusCode, page: &impl Template) -> Answer {
    match page.render() {
        Ok(text) => Ok((status, Html(text)).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Err(Problem::internal())
        }
    }
}

/// A part of a page.
pub fn block(page: &impl Template) -> Answer {
    html(StatusCode::OK, page)
}

/// `303 See Other` to a path of ours.
pub fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response.headers_mut().insert(HeaderName::from_static("vary"), HeaderValue::from_static("cookie"));
    response
}

/// A form wanted something that this page does not do.
pub fn unknown_verb(verb: &str) -> Problem {
    let verb: String = verb.chars().take(40).collect();
    crate::domain::Refused::field("do", format!("`{verb}` is nothing that this page does")).into()
}
