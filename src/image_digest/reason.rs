//! Why a tag is not offered, in words for a person. Pure.

use std::fmt;

use crate::image::Digest;

/// A tag that is not offered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The tag.
    pub tag: String,
    /// What it points at, where that was asked.
    pub digest: Option<Digest>,
    /// Why.
    pub reason: Reason,
}

/// Why a tag is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The registry lists what cannot be a tag.
    NoTag,
    /// A pattern of `deny_tags` matches.
    Denied(String),
    /// No pattern of `allow_tags` matches.
    NotAllowed,
    /// `tag_regex` does not match.
    NoMatch,
    /// What it is ordered by stands for no key of the order.
    NoKey(String),
    /// It does not end in the variant.
    OtherVariant(String),
    /// It is no semantic version.
    NoVersion,
    /// It looks like a date, a build number or a commit.
    LongNumber,
    /// The constraint does not accept it.
    Constraint,
    /// It is a pre-release, and those are not wanted.
    PreRelease,
    /// It is a pre-release of a kind that is not wanted.
    PreReleaseKind(String),
    /// The version that Concourse has is newer.
    Older,
    /// There are enough newer ones.
    Capped(usize),
    /// It was listed and is gone.
    Vanished,
    /// The registry cannot say what it is.
    Broken(String),
    /// Another tag has the same image.
    SameImage(String),
    /// The bare tag, which is not wanted here.
    Bare,
    /// The bare tag, with an image that none of the newest older versions has.
    LeftBehind(usize),
    /// Nothing says when it was built, by which tags are sorted.
    NotDated,
    /// It lacks platforms.
    Platforms(Vec<String>),
    /// It is too young.
    Young {
        /// When it was built.
        created: String,
        /// When it is old enough.
        ripe: String,
    },
    /// Nothing says when it was built, which is needed to know its age.
    AgeUnknown(String),
    /// No signature was found that counts.
    Unsigned(String),
    /// The image for the platform is the one that Concourse has.
    SamePlatform(String),
}

impl Reason {
    /// Returns whether a person should hear of it even when nobody asks: the tag is one that is
    /// watched, and something about its image is in the way.
    #[must_use]
    pub fn is_news(&self) -> bool {
        matches!(
            self,
            Self::Broken(_)
                | Self::LeftBehind(_)
                | Self::NotDated
                | Self::Platforms(_)
                | Self::Young { .. }
                | Self::AgeUnknown(_)
                | Self::Unsigned(_)
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTag => formatter.write_str("it is not a tag"),
            Self::Denied(pattern) => write!(formatter, "`{pattern}` of deny_tags matches"),
            Self::NotAllowed => formatter.write_str("nothing of allow_tags matches"),
            Self::NoMatch => formatter.write_str("tag_regex does not match"),
            Self::NoKey(text) => write!(formatter, "`{text}` has no place in the order"),
            Self::OtherVariant(variant) => write!(formatter, "it does not end in `-{variant}`"),
            Self::NoVersion => formatter.write_str("it is not a semantic version"),
            Self::LongNumber => formatter.write_str("it looks like a date, a build number or a commit"),
            Self::Constraint => formatter.write_str("semver_constraint does not accept it"),
            Self::PreRelease => formatter.write_str("it is a pre-release, and pre_releases is not set"),
            Self::PreReleaseKind(pre) => {
                write!(formatter, "the pre-release `{pre}` is not of a kind that pre_releases takes")
            }
            Self::Older => formatter.write_str("it is older than the version that is there"),
            Self::Capped(most) => write!(formatter, "max_tags is {most}, and there are so many newer ones"),
            Self::Vanished => formatter.write_str("the registry lists it and does not have it"),
            Self::Broken(error) => write!(formatter, "the registry cannot say what it is: {error}"),
            Self::SameImage(tag) => write!(formatter, "the same image as `{tag}`"),
            Self::Bare => formatter.write_str("it is the bare tag, and there are versions or constraints"),
            Self::LeftBehind(most) => write!(
                formatter,
                "none of the {most} versions below the one that is there has its image, and no more are asked; `bare_tag: never` asks none"
            ),
            Self::NotDated => formatter.write_str("it does not say when it was built"),
            Self::Platforms(missing) => write!(formatter, "it has no image for {}", missing.join(", ")),
            Self::Young { created, ripe } => {
                write!(formatter, "it was built at {created}, and minimum_age is reached at {ripe}")
            }
            Self::AgeUnknown(why) => write!(formatter, "its age is not known: {why}"),
            Self::Unsigned(why) => write!(formatter, "it is not verified: {why}"),
            Self::SamePlatform(platform) => {
                write!(formatter, "the image for {platform} is the one that is there")
            }
        }
    }
}
