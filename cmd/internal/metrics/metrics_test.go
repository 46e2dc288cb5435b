package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// used are the metrics of an agent that has done something of everything.
func used() *Metrics {
	m := New("v1.2.3")
	m.SessionOpened()
	m.SessionOpened()
	m.SessionClosed()
	m.TrialSent(1000, 350e6)
	m.TrialSent(500, 400e6)
	m.TrialReceived(990, 346.5e6)
	return m
}

func TestNamesFollowConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(used().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

const wantUsed = `
# HELP tunnelmark_build_info Always 1; the label is the agent's version.
# TYPE tunnelmark_build_info gauge
tunnelmark_build_info{version="v1.2.3"} 1
# HELP tunnelmark_last_trial_end_timestamp_seconds When the last trial ended, since 1970.
# TYPE tunnelmark_last_trial_end_timestamp_seconds gauge
tunnelmark_last_trial_end_timestamp_seconds{role="receiver"} 9.466848e+08
tunnelmark_last_trial_end_timestamp_seconds{role="sender"} 9.466848e+08
# HELP tunnelmark_last_trial_inner_bytes_per_second Inner rate of the last trial: bytes of IP packets that entered or left the tunnel.
# TYPE tunnelmark_last_trial_inner_bytes_per_second gauge
tunnelmark_last_trial_inner_bytes_per_second{role="receiver"} 4.33125e+07
tunnelmark_last_trial_inner_bytes_per_second{role="sender"} 5e+07
# HELP tunnelmark_sessions Sessions whose tunnel is up now.
# TYPE tunnelmark_sessions gauge
tunnelmark_sessions 1
# HELP tunnelmark_sessions_opened_total Sessions whose tunnel has been brought up.
# TYPE tunnelmark_sessions_opened_total counter
tunnelmark_sessions_opened_total 2
# HELP tunnelmark_trial_received_packets_total Packets that trials have received from tunnels, without duplicates.
# TYPE tunnelmark_trial_received_packets_total counter
tunnelmark_trial_received_packets_total 990
# HELP tunnelmark_trial_sent_packets_total Packets that trials have sent into tunnels.
# TYPE tunnelmark_trial_sent_packets_total counter
tunnelmark_trial_sent_packets_total 1500
# HELP tunnelmark_trials_total Trials that have ended, by this agent's half of them.
# TYPE tunnelmark_trials_total counter
tunnelmark_trials_total{role="receiver"} 1
tunnelmark_trials_total{role="sender"} 2
`

func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Time begins at midnight UTC, 2000-01-01.
		if err := testutil.GatherAndCompare(used().registry, strings.NewReader(wantUsed),
			"tunnelmark_build_info", "tunnelmark_last_trial_end_timestamp_seconds", "tunnelmark_last_trial_inner_bytes_per_second",
			"tunnelmark_sessions", "tunnelmark_sessions_opened_total", "tunnelmark_trial_received_packets_total",
			"tunnelmark_trial_sent_packets_total", "tunnelmark_trials_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestNoResultBeforeTheFirstTrial(t *testing.T) {
	count, err := testutil.GatherAndCount(New("v1").registry, "tunnelmark_last_trial_inner_bytes_per_second", "tunnelmark_last_trial_end_timestamp_seconds")
	if err != nil || count != 0 {
		t.Errorf("%d series, %v, want none", count, err)
	}
}

func TestHandler(t *testing.T) {
	well, ill := func() error { return nil }, func() error { return errors.New("trust file is gone") }
	cases := []struct {
		name, method, path string
		check              func() error
		status             int
		want               string
	}{
		{"metrics", "GET", "/metrics", well, 200, "tunnelmark_sessions 1\n"},
		{"process", "GET", "/metrics", well, 200, "process_cpu_seconds_total"},
		{"well", "GET", "/healthz", well, 200, "ok\n"},
		{"ill", "GET", "/healthz", ill, 503, "trust file is gone\n"},
		{"metrics of an ill agent", "GET", "/metrics", ill, 200, "tunnelmark_sessions 1\n"},
		{"nothing else", "GET", "/", well, 404, ""},
		{"no writing", "POST", "/metrics", well, 405, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			used().Handler(c.check).ServeHTTP(answer, httptest.NewRequest(c.method, c.path, nil))
			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.want) {
				t.Errorf("got %d and a body without %q", answer.Code, c.want)
			}
		})
	}
}

func TestServeUntilCancelled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- used().Serve(ctx, listener, func() error { return nil }, slog.New(slog.DiscardHandler))
	}()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + listener.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "ok\n" {
		t.Errorf("got %q, %v", body, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := client.Get("http://" + listener.Addr().String() + "/healthz"); err == nil {
		t.Error("it still answers")
	}
}
