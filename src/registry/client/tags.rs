//! The tags of a repository, page by page.

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::{Answer, Call, Client, malformed};
use crate::registry::Error;

/// As many as are asked for at once; registries may give fewer, and more with them.
const PAGE: usize = 1000;

/// A repository with more tags than this is a registry that does not stop.
const MOST_TAGS: usize = 1_000_000;

/// Nor has any so many pages.
const MOST_PAGES: usize = 10_000;

/// Registries that filter after they have cut the list into pages have empty ones, and not as many in
/// a row.
const MOST_EMPTY: usize = 100;

impl Client {
    /// Returns the tags in the order of the registry; `None` when it has no such repository.
    ///
    /// # Errors
    /// When the registry cannot be asked, or answers with something else.
    pub async fn tags(&self) -> Result<Option<Vec<String>>, Error> {
        let mut path = format!("v2/{}/tags/list?n={PAGE}", self.repository.path());
        let mut asked = BTreeSet::new();
        let mut tags = Vec::new();
        let mut empty = 0;
        loop {
            let answer = self.call(&Call { method: Method::GET, path: path.clone(), accept: None }).await?;
            if answer.status == StatusCode::NOT_FOUND {
                if asked.is_empty() {
                    return Ok(None);
                }
                // A part of the list is no list: the newest tag may be in the other part.
                let problem = "404, although the page before says that the list of tags goes on there";
                return Err(malformed(&answer, problem.to_owned()));
            }
            let listed: Result<Listed, _> = serde_json::from_slice(&answer.body);
            let listed =
                listed.map_err(|error| malformed(&answer, format!("not a list of tags: {error}")))?;
            let page = listed.tags.unwrap_or_default();
            empty = if page.is_empty() { empty + 1 } else { 0 };
            tags.extend(page);
            asked.insert(path);
            let Some(next) = next(&answer)? else { return Ok(Some(tags)) };
            let is_much = asked.len() >= MOST_PAGES || tags.len() > MOST_TAGS || empty >= MOST_EMPTY;
            if is_much || asked.contains(&next) {
                return Err(malformed(&answer, "the list of tags has no end".to_owned()));
            }
            path = next;
        }
    }
}

/// A repository without tags has `null` in some registries.
#[derive(Deserialize)]
struct Listed {
    tags: Option<Vec<String>>,
}

/// Returns path and query of the next page. Scheme and host are the registry's own, whatever the link
/// says: behind a proxy it may not know them. A link to another host is refused.
pub(super) fn next(answer: &Answer) -> Result<Option<String>, Error> {
    let Some(target) = target(&answer.headers) else { return Ok(None) };
    let url = answer.url.join(&target);
    let url =
        url.map_err(|_| malformed(answer, format!("the next page is at `{target}`, which is no address")))?;
    if host(&url) != host(&answer.url) {
        let elsewhere = url.host_str().unwrap_or_default();
        return Err(malformed(answer, format!("the next page is on another host, `{elsewhere}`")));
    }
    let path = url.path().trim_start_matches('/');
    Ok(Some(url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))))
}

fn host(url: &Url) -> (Option<&str>, Option<u16>) {
    (url.host_str(), url.port())
}

/// Finds `<target>; rel="next"`.
fn target(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        let (target, mut rest) = value.trim_start().strip_prefix('<')?.split_once('>')?;
        let mut target = target;
        loop {
            // Within a link only parameters follow; a comma starts the next link.
            let (parameters, others) = rest.split_once(",").unwrap_or((rest, ""));
            let is_next = parameters.split(';').any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
            });
            if is_next {
                return Some(target.to_owned());
            }
            (target, rest) = others.trim_start().strip_prefix('<')?.split_once('>')?;
        }
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn page(link: &'static str) -> Result<Option<String>, String> {
        let asked = Url::parse("https://registry.example.com/v2/app/tags/list?n=1000").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_static(link));
        let (method, url, status) = (Method::GET, asked.clone(), StatusCode::OK);
        next(&Answer { method, asked, url, status, headers, body: Vec::new() })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn next_page_is_where_the_link_says() {
        for (link, path) in [
            ("</v2/app/tags/list?last=b&n=2>; rel=\"next\"", "v2/app/tags/list?last=b&n=2"),
            ("<list?last=b>; rel=next", "v2/app/tags/list?last=b"),
            (
                "<https://registry.example.com/v2/app/tags/list?last=b>; rel=\"next\"",
                "v2/app/tags/list?last=b",
            ),
            ("<http://registry.example.com/elsewhere>;REL=\"next\"", "elsewhere"),
            ("</first>; rel=\"prev\", </second>; title=\"x\"; rel=\"next\"", "second"),
        ] {
            assert_eq!(page(link).unwrap().as_deref(), Some(path), "{link}");
        }
        for link in ["", "</x>; rel=\"prev\"", "/x; rel=\"next\"", "<", "</x>"] {
            assert_eq!(page(link).unwrap(), None, "{link}");
        }
    }

    #[test]
    fn page_on_another_host_is_refused() {
        for link in [
            "<https://evil.example.com/v2/app/tags/list>; rel=\"next\"",
            "<//evil.example.com/x>; rel=\"next\"",
            "<https://registry.example.com:444/x>; rel=\"next\"",
        ] {
            assert!(page(link).unwrap_err().contains("on another host"), "{link}");
        }
    }
}
