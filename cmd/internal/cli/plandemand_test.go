package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"tunnelmark/analysis/report"
)

// fakePrometheus answers every query with a rate that grows.
func fakePrometheus(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/query_range") {
			http.NotFound(w, r)
			return
		}
		start, err1 := strconv.ParseFloat(r.FormValue("start"), 64)
		end, err2 := strconv.ParseFloat(r.FormValue("end"), 64)
		step, err3 := strconv.ParseFloat(r.FormValue("step"), 64)
		if err1 != nil || err2 != nil || err3 != nil || step < 1 {
			http.Error(w, "no range", http.StatusBadRequest)
			return
		}
		var samples []string
		for at := start; at <= end; at += step {
			samples = append(samples, fmt.Sprintf(`[%.0f,"%.0f"]`, at, 100e6+at/100))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"ifName":"st0"},"values":[%s]}]}}`, strings.Join(samples, ","))
	}))
	t.Cleanup(server.Close)
	return server
}

// What Prometheus says is planned like a file; its password is nowhere to be read.
func TestPlanFromPrometheus(t *testing.T) {
	server := fakePrometheus(t)
	address := strings.Replace(server.URL, "http://", "http://reader:hunter2@", 1)
	code, out, said := planned(t.Context(), t, nil, "today.json", "--demand-layer", "inner", "--prometheus", address,
		"--query", "rate(ifHCOutOctets[5m]) * 8", "--since", "60d", "--step", "1h", "--json")
	if code != exitDone {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	var plan report.PlanReport
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatal(err)
	}
	if in := plan.Inputs[len(plan.Inputs)-1]; in.Name != server.URL || len(in.SHA256) != 64 || in.What != "demand, 1441 samples" {
		t.Errorf("it is made from %+v, want %s", in, server.URL)
	}
	if !strings.Contains(plan.Reproduce.CommandLine, "--prometheus="+server.URL) || strings.Contains(out, "hunter2") || strings.Contains(out, "reader") {
		t.Errorf("command line %q", plan.Reproduce.CommandLine)
	}
}

// A server that cannot be asked is a failure, not wrong usage.
func TestPlanWithoutPrometheus(t *testing.T) {
	server := fakePrometheus(t)
	server.Close()
	address := strings.Replace(server.URL, "http://", "http://reader:hunter2@", 1)
	code, out, said := planned(t.Context(), t, nil, "today.json", "--demand-layer", "inner", "--prometheus", address, "--query", "up", "--html", "plan.html")
	if code != exitFailed || out != "" || !strings.Contains(said, "connection refused") || strings.Contains(said, "hunter2") {
		t.Errorf("exit code %d, printed %q, said %q", code, out, said)
	}
}

// What is typed wrong is wrong usage, as with files, and no server is asked.
func TestPlanMistypedForPrometheus(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"history":  {[]string{"--query", "up", "--since", "4000d"}, "ten years"},
		"step":     {[]string{"--query", "up", "--step", "2h"}, "1 s to 1 h"},
		"samples":  {[]string{"--query", "up", "--step", "1s", "--since", "365d"}, "longer step"},
		"unit":     {[]string{"--query", "up", "--demand-unit", "apples"}, "demand unit"},
		"token":    {[]string{"--query", "up", "--prometheus-token-file", "none"}, "bearer token"},
		"bytes":    {[]string{"--query", "rate(ifHCInOctets[5m])"}, "--demand-unit B/s"},
		"way back": {[]string{"--query", "up", "--reverse-packets-query", "up"}, "way back"},
		"scale":    {[]string{"--query", "up", "--scale", "-1"}, "scale"},
	} {
		code, out, said := planned(t.Context(), t, nil, append([]string{"none.json", "--demand-layer", "inner", "--prometheus", "http://127.0.0.1:1"}, c.arguments...)...)
		if code != exitUsage || out != "" || !strings.Contains(said, c.want) {
			t.Errorf("%s: exit code %d, printed %q, said %q, want %d and %q", name, code, out, said, exitUsage, c.want)
		}
	}
}

func TestWithoutCredentials(t *testing.T) {
	for text, want := range map[string]string{
		"http://prometheus:9090":                      "http://prometheus:9090",
		"https://u:p@prometheus.example/path?token=t": "https://prometheus.example/path",
		"":                        "",
		"prometheus:9090":         "",
		"ftp://u:p@prometheus":    "",
		"http://u:p@prom\x7fheus": "",
	} {
		if got := withoutCredentials(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The demand of both directions can be in one file or in two, but not in three.
func TestReverseDemand(t *testing.T) {
	demand := func(names string) *bytes.Buffer {
		text := bytes.NewBufferString("timestamp," + names + "\n")
		for hour := range 24 * 30 {
			fmt.Fprintf(text, "2015-03-%02dT%02d:00:00Z,%d,%d\n", 1+hour/24, hour%24, 1e8+hour, 5e7+hour)
		}
		return text
	}
	two := demand("in_bps,out_bps")
	code, _, said := planned(t.Context(), t, two, "today.json", "--demand", "-", "--demand-layer", "inner", "--rate-column", "out_bps", "--reverse-column", "in_bps", "--directions", "apart")
	if code != exitDone {
		t.Errorf("both in one file: exit code %d, said %q", code, said)
	}
	two = demand("in_bps,out_bps")
	code, out, said := planned(t.Context(), t, two, "today.json", "--demand", "demand.csv", "--reverse-demand", "-", "--rate-column", "2", "--demand-layer", "inner")
	if code != exitDone || !strings.Contains(out, `demand.csv: Column 2 "bits_per_second" was read as`) || !strings.Contains(out, `standard input: Column 2 "in_bps" was read as`) {
		t.Errorf("in two: exit code %d, said %q, printed\n%s", code, said, out)
	}
	for _, files := range [][]string{{"-", "demand.csv"}, {"demand.csv", "-"}} {
		code, _, said = planned(t.Context(), t, demand("in_bps,out_bps"), "today.json", "--demand", files[0], "--reverse-demand", files[1], "--demand-layer", "inner")
		if code != exitUsage || !strings.Contains(said, "one of the files holds both directions") {
			t.Errorf("in three: exit code %d, said %q", code, said)
		}
	}
	code, _, said = planned(t.Context(), t, nil, "today.json", "--demand", "demand.csv", "--reverse-demand", "demand.csv", "--reverse-column", "3", "--demand-layer", "inner")
	if code != exitUsage || !strings.Contains(said, "--reverse-column: has no meaning with --reverse-demand") {
		t.Errorf("named twice: exit code %d, said %q", code, said)
	}
}
