//! The grammar against what Masterminds' own parser (v3.4.0) makes of the same constraints.

use super::*;

/// Final versions, in order; the table below has ranges of them.
const FINAL: &str = "0.0.0 0.0.3 0.0.4 0.1.0 0.2.3 0.2.9 0.3.0 1.0.0 1.2.0 1.2.3 1.2.4 1.3.0 1.10.0 2.0.0 2.1.0 3.4.5 11.0.0 11.1.0 11.1.5 11.2.0 20240101";

const PRE_RELEASES: &str = "1.0.0-rc.1 1.2.3-alpha.1 1.2.3-beta 2.0.0-rc.1";

/// A constraint and what it accepts: `a..b` is from `a` to `b` in [`FINAL`], `a..` to its end.
const ACCEPTED: &[(&str, &str)] = &[
    ("*", "0.0.0.."),
    ("x", "0.0.0.."),
    ("X.1", "0.0.0.."),
    ("1", "1.0.0..1.10.0"),
    ("1.x", "1.0.0..1.10.0"),
    ("1.X.4", "1.0.0..1.10.0"),
    ("1.2", "1.2.0..1.2.4"),
    ("1.2.x", "1.2.0..1.2.4"),
    ("1.2.3", "1.2.3"),
    ("v1.2.3", "1.2.3"),
    ("=1.2.3", "1.2.3"),
    ("= 1.2", "1.2.0..1.2.4"),
    ("!=1", "0.0.0..0.3.0 2.0.0.."),
    ("!=1.2", "0.0.0..1.0.0 1.3.0.."),
    ("!=1.2.x", "0.0.0..1.0.0 1.3.0.."),
    ("!=1.2.3", "0.0.0..1.2.0 1.2.4.."),
    ("!=*", "0.0.3.."),
    (">1", "2.0.0.."),
    (">1.2", "1.3.0.."),
    (">1.2.3", "1.2.4.."),
    (">*", "0.0.3.."),
    (">11", "20240101"),
    (">11.1", "11.2.0.."),
    (">=1.2", "1.2.0.."),
    (">=1.2.3", "1.2.3.."),
    ("=>1.2.3", "1.2.3.."),
    ("<1.2", "0.0.0..1.0.0"),
    ("<2", "0.0.0..1.10.0"),
    ("<=1", "0.0.0..1.10.0"),
    ("<=1.2", "0.0.0..1.2.4"),
    ("<=1.2.3", "0.0.0..1.2.3"),
    ("=<1.2.3", "0.0.0..1.2.3"),
    ("<=*", "0.0.0..0.0.4"),
    ("~1", "1.0.0..1.10.0"),
    ("~1.2", "1.2.0..1.2.4"),
    ("~1.2.3", "1.2.3..1.2.4"),
    ("~>1.2", "1.2.0..1.2.4"),
    ("~>1.2.3", "1.2.3..1.2.4"),
    ("~0", "0.0.0..0.3.0"),
    ("~0.0.0", "0.0.0.."),
    ("~*", "0.0.0.."),
    ("~x.1", "0.0.0.."),
    ("^1", "1.0.0..1.10.0"),
    ("^1.2", "1.2.0..1.10.0"),
    ("^1.2.3", "1.2.3..1.10.0"),
    ("^0", "0.0.0..0.3.0"),
    ("^0.0", "0.0.0..0.0.4"),
    ("^0.0.3", "0.0.3"),
    ("^0.2", "0.2.3..0.2.9"),
    ("^0.2.3", "0.2.3..0.2.9"),
    ("^*", "0.0.0"),
    ("^0.0.x", "0.0.0..0.0.4"),
    (">=1.2, <2", "1.2.0..1.10.0"),
    (">=1.2 <2", "1.2.0..1.10.0"),
    (">= 1.2 < 2 != 1.2.4", "1.2.0..1.2.3 1.3.0..1.10.0"),
    (">=1.2,<1.3 || >=2", "1.2.0..1.2.4 2.0.0.."),
    ("^1.2 || ^11", "1.2.0..1.10.0 11.0.0..11.2.0"),
    ("1.2 - 1.10", "1.2.0..1.10.0"),
    ("1.2.3 - 2", "1.2.3..2.1.0"),
    ("1.2.3-alpha - 2.0.0", "1.2.3..2.0.0 1.2.3-alpha.1 1.2.3-beta 2.0.0-rc.1"),
    ("1 - 2 || 11.1", "1.0.0..2.1.0 11.1.0..11.1.5"),
    ("<3, 1.2 - 1.3", "1.2.0..1.3.0"),
    (">=1.2.3-alpha", "1.2.3.. 1.2.3-alpha.1 1.2.3-beta 2.0.0-rc.1"),
    (">=1.2.3-alpha <1.2.3", "1.2.3-alpha.1 1.2.3-beta"),
    ("~1.2.3-beta", "1.2.3..1.2.4 1.2.3-beta"),
    ("^1.2.3-0", "1.2.3..1.10.0 1.2.3-alpha.1 1.2.3-beta"),
    ("!=1.2.3-beta", "0.0.0.. 1.0.0-rc.1 1.2.3-alpha.1 2.0.0-rc.1"),
    ("<2.0.0-rc.2", "0.0.0..1.10.0 1.0.0-rc.1 1.2.3-alpha.1 1.2.3-beta 2.0.0-rc.1"),
    (">1.0.0-rc.1 <1.2.3", "1.0.0..1.2.0 1.2.3-alpha.1 1.2.3-beta"),
    ("1.x-0", "1.0.0..1.10.0 1.0.0-rc.1 1.2.3-alpha.1 1.2.3-beta"),
    ("=1.2.3-beta", "1.2.3-beta"),
    (">=1.0.0+build", "1.0.0.."),
    ("  >=1.2  ", "1.2.0.."),
    (">= 1.2 , < 2", "1.2.0..1.10.0"),
    ("20240101", "20240101"),
    ("1.x.2x", "1.0.0..1.10.0"),
    ("1.0 - 2.0, <1.5", "1.0.0..1.3.0"),
    ("1.0 - 2.0 <1.5", "1.0.0..1.3.0"),
];

const REFUSED: &[&str] = &[
    ">=1.2.3 ||",
    "",
    " ",
    "latest",
    "1.2.3.4",
    ">=1.2<2",
    ">=1,,<2",
    ">=1,",
    ",1",
    "1..2",
    "1.",
    ">>1",
    "= =1",
    "=>=1",
    "1x",
    "x1",
    "1.2x",
    "v",
    "^",
    "1.2-",
    "1.2.3-01",
    "a || 1",
    "1 | 2",
    ">=1.2 - 2",
    "1 -2",
    "1- 2",
    "1.2.3-a..b",
    "1.2.3+",
    "!1",
    "!1.2",
    "~~1",
    "99999999999999999999",
];

fn accepted(ranges: &str) -> Vec<&str> {
    let versions: Vec<&str> = FINAL.split(' ').collect();
    let place = |wanted: &str| versions.iter().position(|version| *version == wanted);
    let mut all = Vec::new();
    for range in ranges.split(' ') {
        match range.split_once("..") {
            None => all.push(range),
            Some((first, last)) => {
                let end = place(last).map_or(versions.len(), |end| end + 1);
                all.extend(&versions[place(first).unwrap()..end]);
            }
        }
    }
    all
}

#[test]
fn constraint_accepts_what_masterminds_accepts() {
    for (text, ranges) in ACCEPTED {
        let constraint = Constraint::parse(text).unwrap();
        let versions = FINAL.split(' ').chain(PRE_RELEASES.split(' '));
        let found: Vec<&str> =
            versions.filter(|version| constraint.accepts(&Semver::coerce(version).unwrap())).collect();
        assert_eq!(found, accepted(ranges), "{text}");
    }
}

#[test]
fn what_masterminds_refuses_is_refused() {
    for text in REFUSED {
        let error = Constraint::parse(text).unwrap_err();
        assert!(error.starts_with(&format!("`{text}` is not a constraint: ")), "{error}");
    }
}

#[test]
fn no_text_makes_the_parser_panic_or_hang() {
    const PARTS: [&str; 24] = [
        "1",
        "0",
        "99",
        "x",
        "*",
        ".",
        ".",
        "-",
        "-rc",
        "+",
        "v",
        " ",
        " ",
        ",",
        "||",
        "|",
        "=",
        "!",
        ">",
        "<",
        "~",
        "^",
        "ü",
        "18446744073709551616",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let some = Semver::coerce("1.2.3").unwrap();
    let mut read = 0;
    for _ in 0..20_000 {
        let text: String = (0..next() % 9).map(|_| PARTS[next() % PARTS.len()]).collect();
        if let Ok(constraint) = Constraint::parse(&text) {
            read += 1;
            constraint.accepts(&some);
        }
        Semver::coerce(&text);
    }
    assert!(read > 500, "only {read} were constraints");
}
