//! How a run task knows who called it: HMAC-SHA512 over the body as it travels.

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
}
