//! Passwords out of words: easy to type, hard to guess.

use crate::crypt::{Secret, random_bytes};

/// Words of a password: with 256 to choose from each is worth 8 bits.
const LENGTH: usize = 6;

/// Short, different, and harmless.
const WORDS: &str = "\
acorn alder amber anvil apple apron arrow aspen atlas attic badge baker banjo basil basin beach beard berry birch \
bison blaze bloom board bonus brass bread brick brook brush cabin cable camel candy canoe cedar chalk charm cheek \
chess chili cider clamp cliff cloak clock cloud clove coast cobra comet coral couch cover crane crate creek crisp \
crown crumb curry daisy dance delta denim depot diary disco ditch dough draft drift drill dwarf eagle easel elbow \
ember equal fable fairy feast fence ferry fiber field flame flask fleet flint flock flour flute forge forum frost \
fruit giant glass globe glove grain grape grass gravy grove guava guide hazel heart hedge heron hinge honey hotel \
house index inlet ivory jelly jewel joker juice kettle kiosk knife koala label ladle lemon level lilac linen llama \
lodge lotus lunar lunch magma mango manor maple march marsh medal melon mercy metal mint mocha model moose motor \
mount mouse mural music nacho nerve north novel nylon oasis ocean olive onion opera orbit otter owner paint panda \
paper patch peach pearl pedal penny perch piano pilot pixel plaid plank plaza plume polar poppy porch prism pulse \
pupil quail quake quartz queen quilt radar raven reef relay ridge river robin rocky rover ruler salad salsa satin \
scarf scout shade shark sheep shelf shell shore siren slate slope smoke snail solar sonar spade spark spice spoon \
squid stamp steam stone storm sugar table thorn tiger toast topaz torch towel trail train trout ultra vapor vault \
villa vinyl viola wagon waltz whale wheat willow yacht";

/// A new password: 48 random bits as words with hyphens between.
pub(super) fn password() -> Secret<String> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let chosen = random_bytes::<LENGTH>().map(|byte| words[usize::from(byte)]);
    Secret::new(chosen.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_has_a_word_of_its_own() {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let different: BTreeSet<&str> = words.iter().copied().collect();
        assert_eq!((words.len(), different.len()), (256, 256));
    }

    #[test]
    fn passwords_differ_and_are_good_enough() {
        let (one, other) = (password(), password());
        assert_ne!(one, other);
        assert_eq!(one.expose().split('-').count(), LENGTH);
        assert_eq!(crate::auth::password::problem(&one, "admin"), None);
    }
}
