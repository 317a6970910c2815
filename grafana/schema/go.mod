// Pins the schema by which Grafana reads a dashboard; nothing here is linked into Rollway.
module rollway.dev/dashboard

go 1.26

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
