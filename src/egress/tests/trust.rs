//! Whom TLS believes.

use super::rig::Authority;
use crate::egress::{Trust, TrustError};

#[test]
fn a_bundle_must_hold_something_that_can_be_believed() {
    assert!(matches!(Trust::of_bundle(b""), Err(TrustError::Empty)));
    assert!(matches!(Trust::of_bundle(b"no certificate at all"), Err(TrustError::Empty)));
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    assert!(matches!(Trust::of_bundle(broken.as_bytes()), Err(TrustError::Unreadable(_))));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Trust::of_bundle(nonsense.as_bytes()), Err(TrustError::Unreadable(_))));
    let both = format!("# ours\n{}{}", Authority::new(&["a.example"]).pem, Authority::new(&["b.example"]).pem);
    assert!(Trust::of_bundle(both.as_bytes()).is_ok());
}

#[test]
fn a_host_has_authorities_or_says_how_to_get_them() {
    match Trust::of_host() {
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}"),
    }
}
