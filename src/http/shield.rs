//! What stands around every request: an id, headers, bounds, and the refusal of forms from elsewhere.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
    csrf::CsrfLayer,
};
use ulid::Ulid;

use super::{Problem, Web, pages, serve::ClientAddress, unread::Unread};
use crate::{
    config::Proxies,
    domain::{Timestamp, limits},
};

/// The request's id, in logs, in the answer's header and in problems.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Where the request really comes from.
#[derive(Clone, Copy, Debug)]
pub struct From(pub Option<IpAddr>);

/// Nothing but our own files; each directive is there because a page needs it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn around(routes: Router<Web>, web: &Web) -> Router<Web> {
    routes
        .fallback(|| async { Problem::not_found("this address leads nowhere; look at how it is spelled") })
        .method_not_allowed_fallback(|| async {
            Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method")
        })
        .layer(DefaultBodyLimit::max(usize::try_from(limits::BODY_BYTES).unwrap_or(usize::MAX)))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(web.clone(), rate))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn_with_state(web.clone(), dress))
        .layer(CompressionLayer::new().gzip(true).compress_when(at_rest()))
}

/// What is worth packing: not what comes a line at a time, which a packer would hold back.
fn at_rest() -> impl Predicate {
    DefaultPredicate::new().and(NotForContentType::const_new("application/x-json-stream"))
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("no message"), "a handler panicked");
    Problem::internal().into_response()
}

/// Gives the request its id and its sender, and the answer its headers and, for people, its page.
async fn dress(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let id = RequestId(format!("req_{}", Ulid::generate()));
    let from = From(client(&web, &request));
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(from);
    let reader = pages::Reader::of(&web, &request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let unread = Unread::watch(&mut request);
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = explain(&web, response, reader, &id);
        unread.announce(&mut response);
    }
    web.answered.count(response.status());
    tracing::debug!(%method, path, status = response.status().as_u16(), id = id.0, "answered");
    seal(&web, &mut response, &id);
    response
}

/// Every error is one of our problems, and a page where a person asked.
fn explain(web: &Web, response: Response, reader: pages::Reader, id: &RequestId) -> Response {
    let known = response.extensions().get::<Problem>().cloned();
    let status = response.status();
    let problem = match known {
        Some(problem) => problem,
        // A page that says itself what is wrong, such as a form with errors.
        None if response.headers().get(header::CONTENT_TYPE).is_some_and(is_html) => return response,
        None if is_foreign_json(&response) => return response,
        None => Problem::of_status(status, default_words(status)),
    };
    let problem = Problem { request_id: id.0.clone(), ..problem };
    let before = response.headers().clone();
    let mut answer = match reader.wants_page() {
        true => pages::error_page(web, &reader, &problem),
        false => problem.into_response(),
    };
    for name in [header::ALLOW, header::CONTENT_RANGE, header::RETRY_AFTER] {
        if let Some(value) = before.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn is_html(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"text/html")
}

/// Answers in other people's formats (OAuth, JSON:API) explain themselves.
fn is_foreign_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.starts_with(b"application/json") || kind.starts_with(b"application/vnd.api+json")
}

fn default_words(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "the request came from another site, or is not allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than this address takes",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body's Content-Type is not what this address takes",
        StatusCode::BAD_REQUEST => "the request could not be understood",
        _ => "the request was refused",
    }
}

fn seal(web: &Web, response: &mut Response, id: &RequestId) {
    let secure = web.secure();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CSP);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    if secure {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// The sender's address.
fn client(web: &Web, request: &Request<Body>) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<ClientAddress>>().map(|info| info.0.0.ip())?;
    Some(sender(peer, request.headers(), &web.config.trusted_proxies))
}

/// Who sent a request that came from `peer`: every hop is believed as far as a listed proxy wrote it down.
/// A proxy may add to the line that it got, or add one of its own; what is no address ends the walk.
fn sender(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    let mut sender = peer;
    for hop in hops.map(|hop| hop.trim().parse::<IpAddr>()) {
        match hop {
            Ok(before) if proxies.contains(&sender) => sender = before,
            Ok(_) | Err(_) => break,
        }
    }
    sender
}

/// Buckets of requests by sender.
#[derive(Debug, Default)]
pub struct Rates {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

/// Senders remembered at once.
const SENDERS: usize = 10_000;

impl Rates {
    /// Takes one request out of the sender's bucket; says how long to wait when it is empty.
    fn take(&self, from: IpAddr, now: Timestamp) -> Option<Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= SENDERS {
            buckets.retain(|_, bucket| now - bucket.at < Duration::from_secs(10));
        }
        let burst = f64::from(limits::RATE_BURST);
        let bucket = buckets.entry(from).or_insert(Bucket { left: burst, at: now });
        let earned = (now - bucket.at).as_secs_f64() * f64::from(limits::RATE_PER_SECOND);
        bucket.left = (bucket.left + earned).min(burst);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Some(Duration::from_secs(1));
        }
        bucket.left -= 1.0;
        None
    }
}

async fn rate(State(web): State<Web>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<From>().and_then(|from| from.0);
    match from.and_then(|from| web.rates.take(from, web.actions.now())) {
        Some(_) => {
            let detail = format!("more than {} requests a second came from your address", limits::RATE_PER_SECOND);
            Problem::of_status(StatusCode::TOO_MANY_REQUESTS, detail).into_response()
        }
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_believed_as_far_as_a_listed_proxy_wrote_it_down() {
        use crate::config::{List, Proxy};
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies: Proxies = "10.0.0.1, 10.0.0.2".parse::<List<Proxy>>().unwrap().into();
        let cases: [(&str, &[&str], &str); 11] = [
            ("192.0.2.7", &["198.51.100.1"], "192.0.2.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, unknown", "10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["6.6.6.6", ""], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6", "2001:db8::1 , 10.0.0.2"], "2001:db8::1"),
        ];
        for (peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(sender(address(peer), &headers, &proxies), address(expected), "{peer} {lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        headers.append("x-forwarded-for", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(
            sender(address("10.0.0.1"), &headers, &proxies),
            address("10.0.0.1"),
            "nor is what cannot even be read"
        );
    }
}
