package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"tunnelmark/lab/labtest"
)

// metricsAddress is the same in each site, whose network is its own.
const metricsAddress = "127.0.0.1:9550"

// What a tunnel counts is there while it stands, and stays when it is gone.
func TestMetricsOfATunnel(t *testing.T) {
	labtest.NeedProgram(t, "iperf3")
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	const sent, dropped = `tunnelmark_tunnel_packets_total{direction="out",driver="esp"}`, `tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="bad_icv"}`
	if before := sites.scrape(t, "a"); before[sent] != 0 {
		t.Errorf("%g packets before the first tunnel", before[sent])
	}
	p := start(t, "hold", "a", "b", "--state", sites.state)
	carryIperf3(t, sites.lab, p.held(t))
	held := sites.scrape(t, "a")
	if _, shown := held[dropped]; held[sent] < 100 || !shown {
		t.Errorf("%g packets sent after 1 MiB, reasons to drop shown: %t", held[sent], shown)
	}
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d after Ctrl-C; it says %s", code, p.stderr)
	}
	if after := sites.scrape(t, "a"); after[sent] < held[sent] || after["tunnelmark_sessions"] != 0 {
		t.Errorf("%g packets sent with %g sessions left, want %g or more with none", after[sent], after["tunnelmark_sessions"], held[sent])
	}
}

// scrape asks an agent as Prometheus would, and returns values by series.
func (s *sites) scrape(t *testing.T, site string) map[string]float64 {
	t.Helper()
	var conn net.Conn
	err := s.lab.Do(site, func() (err error) {
		conn, err = net.Dial("tcp", metricsAddress)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		var value float64
		series, text, _ := strings.Cut(lines.Text(), " ")
		if _, err := fmt.Sscan(text, &value); err == nil {
			values[series] = value
		}
	}
	return values
}
