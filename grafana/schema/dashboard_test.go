// Package dashboard reads the dashboard as Grafana's published schema has it: every field known, every required one
// there, and the same for the options of each kind of panel and for Prometheus' queries.
// What its queries answer is shown where a Prometheus and pods are.
package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

const file = "../kpack-dashboard.json"

func TestMain(m *testing.M) {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	os.Exit(m.Run())
}

// read says what Grafana's schema has against a dashboard.
func read(raw []byte) error {
	// Without a mistake the strict reader answers an empty list of them, which is not nil and makes it drop what it read.
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		return err
	}
	var read dashboard.Dashboard
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	for _, panel := range read.Panels {
		// Options of a kind that is not registered are taken as they are.
		if _, known := cog.ConfigForPanelcfgVariant(panel.Panel.Type); !known {
			return fmt.Errorf("nobody has looked at a panel of kind `%s`", panel.Panel.Type)
		}
	}
	return read.Validate()
}

func TestGrafanaReadsTheDashboard(t *testing.T) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := read(raw); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreFound(t *testing.T) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, mistake := range []struct{ right, wrong, told string }{
		{`"templating"`, `"template"`, "template"},
		{`"gridPos"`, `"gridpos"`, "gridpos"},
		{`"colorMode"`, `"colourMode"`, "colourMode"},
		{`"cellHeight": "sm"`, `"cellHeight": 3`, "cellHeight"},
		{`"refId"`, `"refid"`, "refid"},
		{`"graphTooltip": 1`, `"graphTooltip": "shared"`, "graphTooltip"},
		{`"type": "stat"`, `"type": "singlestat"`, "singlestat"},
	} {
		changed := bytes.ReplaceAll(raw, []byte(mistake.right), []byte(mistake.wrong))
		if bytes.Equal(raw, changed) {
			t.Errorf("the dashboard has no %s", mistake.right)
		}
		if err := read(changed); err == nil || !strings.Contains(err.Error(), mistake.told) {
			t.Errorf("%s: %v", mistake.wrong, err)
		}
	}
}
