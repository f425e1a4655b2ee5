//! How those who are called know who calls: HMACs over the body as it travels. Run tasks have SHA-512;
//! webhooks the two of GitHub's scheme, of which the older is for receivers that know no other.

use aws_lc_rs::hmac;

use super::Secret;

/// The signature of a body, in lower-case hexadecimal digits.
pub fn signature(key: &Secret<String>, body: &[u8]) -> String {
    hex::encode(hmac::sign(&of(key), body).as_ref())
}

/// Whether a body carries the signature of whoever knows the key, in a time that does not depend on
/// where it differs.
pub fn is_signed(key: &Secret<String>, body: &[u8], signature: &str) -> bool {
    hex::decode(signature).is_ok_and(|tag| hmac::verify(&of(key), body, &tag).is_ok())
}

/// What webhooks carry: `X-Signature` and `X-Signature-256`.
pub fn webhook_signatures(secret: &Secret<String>, body: &[u8]) -> (String, String) {
    let signed = |name: &str, algorithm| {
        let key = hmac::Key::new(algorithm, secret.expose().as_bytes());
        format!("{name}={}", hex::encode(hmac::sign(&key, body).as_ref()))
    };
    (signed("sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY), signed("sha256", hmac::HMAC_SHA256))
}

fn of(key: &Secret<String>) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA512, key.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_rfc_4231_and_fits_one_body_and_one_key() {
        let key = Secret::new("Jefe".to_owned());
        let body = b"what do ya want for nothing?";
        let signed = signature(&key, body);
        // Its second test case.
        assert_eq!(
            signed,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737"
        );
        assert!(is_signed(&key, body, &signed) && is_signed(&key, body, &signed.to_uppercase()));
        assert!(!is_signed(&key, b"what do ya want for nothing!", &signed));
        assert!(!is_signed(&Secret::new("Jeff".to_owned()), body, &signed));
        for wrong in ["", "00", &signed[2..], "zz"] {
            assert!(!is_signed(&key, body, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_webhook_has_the_signatures_of_rfc_2202_and_rfc_4231() {
        let key = Secret::new("Jefe".to_owned());
        let (sha1, sha256) = webhook_signatures(&key, b"what do ya want for nothing?");
        assert_eq!(sha1, "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(sha256, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
