//! Randomness, and tokens made of it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use zeroize::Zeroize as _;

use super::Secret;

/// Bytes from the kernel's generator, which every process finds seeded. A generator of our own would have
/// to be seeded first: AWS-LC's takes some 35 ms for that, in every runner.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(error) => panic!("the kernel gives randomness once it has booted: {error}"),
        }
    }
    bytes
}

/// 256 random bits as 43 characters of base64url.
pub fn random_token() -> Secret<String> {
    let mut bytes = random_bytes::<32>();
    let token = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
    bytes.zeroize();
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_random() {
        let seen = (0..64).map(|_| random_bytes::<300>()).reduce(|mut all, more| {
            all.iter_mut().zip(more).for_each(|(all, more)| *all |= more);
            all
        });
        assert!(seen.unwrap().iter().all(|byte| *byte != 0));
    }

    #[test]
    fn a_token_is_256_bits_that_fit_a_url_and_never_the_same() {
        let (one, other) = (random_token(), random_token());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose()).unwrap().len(), 32);
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }
}
