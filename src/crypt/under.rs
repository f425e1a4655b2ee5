//! Small things encrypted under a key that the caller holds.
//!
//! `version (1) | nonce (12) | ciphertext and tag`. The key may serve up to 2³² such things
//! (NIST SP 800-38D, random nonces): a chain's key sees a few dozen.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};

use super::{Key, Secret, TAG_BYTES, key::framed, random_bytes};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + NONCE_LEN;

/// It is damaged, cut short, bound to something else, or its key is another one. Which of these
/// cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not verify: it is damaged, belongs to something else, or its key is another one")]
pub struct Unauthentic;

/// Encrypts `plaintext` so that it opens only under the same key and the same `aad`.
pub fn seal_under(key: &Key, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_with_nonce(key, aad, plaintext, random_bytes())
}

/// What [`seal_under`] encrypted.
pub fn open_under(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, Unauthentic> {
    if sealed.len() < HEAD_BYTES + TAG_BYTES || sealed[0] != VERSION {
        return Err(Unauthentic);
    }
    let nonce = Nonce::try_assume_unique_for_key(&sealed[1..HEAD_BYTES]).map_err(|_| Unauthentic)?;
    let (ciphertext, tag) = sealed[HEAD_BYTES..].split_at(sealed.len() - HEAD_BYTES - TAG_BYTES);
    let mut plaintext = vec![0; ciphertext.len()];
    key.cipher()
        .open_separate_gather(nonce, Aad::from(bound(aad)), ciphertext, tag, &mut plaintext)
        .map_err(|_| Unauthentic)?;
    Ok(Secret::new(plaintext))
}

fn seal_with_nonce(key: &Key, aad: &[u8], plaintext: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + plaintext.len() + TAG_BYTES);
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = key
        .cipher()
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound(aad)),
            &mut sealed[HEAD_BYTES..],
        )
        .expect("AES-GCM takes 64 GiB at once");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

fn bound(aad: &[u8]) -> Vec<u8> {
    framed(&[b"airlock under", &[VERSION], aad])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_only_under_the_same_key_and_for_the_same_thing() {
        let key = Key::new([3; 32]);
        let sealed = seal_under(&key, b"run 1", b"plan");
        assert_eq!(open_under(&key, b"run 1", &sealed).unwrap().expose(), b"plan");
        assert_eq!(open_under(&key, b"run 2", &sealed), Err(Unauthentic));
        assert_eq!(open_under(&Key::new([4; 32]), b"run 1", &sealed), Err(Unauthentic));
        assert_ne!(sealed, seal_under(&key, b"run 1", b"plan"));
    }

    #[test]
    fn every_byte_of_it_counts() {
        let key = Key::new([3; 32]);
        let sealed = seal_under(&key, b"", b"plan");
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(open_under(&key, b"", &flipped), Err(Unauthentic), "byte {at}");
            assert_eq!(open_under(&key, b"", &sealed[..at]), Err(Unauthentic), "cut at {at}");
        }
    }

    #[test]
    fn version_1_keeps_its_bytes() {
        let sealed = seal_with_nonce(&Key::new([3; 32]), b"run 1", b"plan", [9; 12]);
        assert_eq!(hex::encode(&sealed), "0109090909090909090909090974640cb5af8d80eea65bc843e38184bcdae98faa");
    }
}
