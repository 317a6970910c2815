//! Rules that somebody lets pass, by id. One that there is not is refused: it would let nothing pass, and
//! nobody would notice.

use std::collections::BTreeSet;

use super::rules;

/// How many ids of what there is are worth reading.
const SHOWN: usize = 3;

/// An id that no rule has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was given.
    pub id: String,
    /// The ids that are most like it, the nearest first.
    pub nearest: Vec<&'static str>,
}

impl Unknown {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let nearest: Vec<String> = self.nearest.iter().map(|id| format!("`{id}`")).collect();
        format!("the nearest are {}", nearest.join(", "))
    }
}

/// Reads the ids of rules, in either case.
///
/// # Errors
///
/// The first id that no rule has.
pub fn allowed(given: &[String]) -> Result<BTreeSet<String>, Unknown> {
    given
        .iter()
        .map(|given| {
            let id = given.trim().to_uppercase();
            if rules().any(|rule| rule.id == id) {
                return Ok(id);
            }
            let mut nearest: Vec<&'static str> = rules().map(|rule| rule.id).collect();
            nearest.sort_by_cached_key(|known| (strsim::damerau_levenshtein(&id, known), *known));
            nearest.truncate(SHOWN);
            Err(Unknown { id: given.clone(), nearest })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_catalogue_in_either_case() {
        let given = ["t008".to_owned(), " D401".to_owned(), "T008".to_owned()];
        assert_eq!(allowed(&given), Ok(["D401".to_owned(), "T008".to_owned()].into()));
        assert_eq!(allowed(&[]), Ok(BTreeSet::new()));
    }

    #[test]
    fn an_unknown_id_is_told_with_the_nearest() {
        let unknown = allowed(&["D401".to_owned(), "d410".to_owned()]).unwrap_err();
        assert_eq!((unknown.id.as_str(), unknown.nearest[0]), ("d410", "D401"));
        assert_eq!(unknown.hint(), "the nearest are `D401`, `D402`, `D403`");
    }
}
