//! One instant query to a Prometheus, or to what speaks its HTTP API.

use serde::Deserialize;

use super::{Error, client, kind, parse, shown};

/// An answer beyond this is no gate but a dump.
const LIMIT: usize = 1 << 20;

/// One number of an answer; none of them is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it is of, as Prometheus names series: `{pod="a"}`; empty for a plain number.
    pub series: String,
    /// The number.
    pub value: f64,
}

/// Asks `promql` of the server at `url`, now. A query of nothing, or of 0/0, has no samples.
///
/// # Errors
///
/// When the server cannot be reached or refuses the query.
pub async fn query(url: &str, promql: &str, ca_certs: &[String]) -> Result<Vec<Sample>, Error> {
    let mut address = parse(url)?;
    let path = format!("{}/api/v1/query", address.path().trim_end_matches('/'));
    address.set_path(&path);
    address.query_pairs_mut().append_pair("query", promql);
    let name = shown(address.as_str());
    let client = client(ca_certs)?.build().map_err(|error| Error::Client(error.to_string()))?;
    let failed = |error: reqwest::Error| Error::Unanswered { url: name.clone(), kind: kind(&error) };
    let mut response = client.get(address).send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            return Err(Error::Refused {
                url: name,
                text: format!("the answer is longer than {LIMIT} bytes"),
            });
        }
    }
    read(&body).map_err(|text| Error::Refused { url: name, text: text.unwrap_or_else(|| status.to_string()) })
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    metric: std::collections::BTreeMap<String, String>,
    value: (f64, String),
}

/// Reads an answer; the error is the server's word, if it has one.
fn read(body: &[u8]) -> Result<Vec<Sample>, Option<String>> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| None)?;
    if answer.status != "success" {
        return Err(answer.error);
    }
    let samples = match answer.data {
        Some(Data::Vector(all)) => {
            all.into_iter().map(|one| sample(name(&one.metric), &one.value.1)).collect()
        }
        Some(Data::Scalar((_, value))) => vec![sample(String::new(), &value)],
        Some(Data::Matrix(_) | Data::String(_)) => {
            return Err(Some(
                "the query's result is no number: ask for an instant vector or a scalar".to_owned(),
            ));
        }
        None => Vec::new(),
    };
    Ok(samples.into_iter().flatten().filter(|sample: &Sample| !sample.value.is_nan()).collect())
}

fn sample(series: String, value: &str) -> Option<Sample> {
    Some(Sample { series, value: value.replace("Inf", "inf").parse().ok()? })
}

fn name(labels: &std::collections::BTreeMap<String, String>) -> String {
    let words: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    if words.is_empty() { String::new() } else { format!("{{{}}}", words.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(result: &str) -> Result<Vec<(String, f64)>, Option<String>> {
        let body = format!(r#"{{"status":"success","data":{result}}}"#);
        read(body.as_bytes()).map(|all| all.into_iter().map(|one| (one.series, one.value)).collect())
    }

    #[test]
    fn vectors_and_scalars_are_numbers() {
        let vector = r#"{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1.5,"0.25"]},
            {"metric":{},"value":[1.5,"+Inf"]},{"metric":{},"value":[1.5,"NaN"]}]}"#;
        let wanted = vec![("{pod=\"a\"}".to_owned(), 0.25), (String::new(), f64::INFINITY)];
        assert_eq!(values(vector), Ok(wanted));
        assert_eq!(values(r#"{"resultType":"scalar","result":[1,"3"]}"#), Ok(vec![(String::new(), 3.0)]));
        assert_eq!(values(r#"{"resultType":"vector","result":[]}"#), Ok(vec![]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let error = values(r#"{"resultType":"matrix","result":[]}"#).unwrap_err();
        assert!(error.unwrap().contains("instant vector"));
        let body = br#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        assert_eq!(read(body), Err(Some("parse error at char 3".to_owned())));
        assert_eq!(read(b"<html>"), Err(None));
    }
}
