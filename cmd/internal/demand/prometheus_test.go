package demand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"tunnelmark/analysis"
)

// until is when the tests ask.
var until = time.Date(2026, 1, 31, 10, 2, 0, 0, time.UTC)

// prometheus is a server that answers range queries by a function, as far as
// Prometheus' own rules go.
type prometheus struct {
	*httptest.Server
	retention string // Empty: it does not say.
	series    func(query string) []stream
	refuse    func(w http.ResponseWriter, r *http.Request) bool
	warnings  []string

	mu     sync.Mutex // Guards what follows.
	ranges []v1.Range
	tokens []string
}

// stream is one series by its value at any time; NaN: there is no sample.
type stream struct {
	labels string
	value  func(at time.Time) float64
}

func always(value float64) func(time.Time) float64 {
	return func(time.Time) float64 { return value }
}

func one(value func(time.Time) float64) func(string) []stream {
	return func(string) []stream { return []stream{{`{"tunnel":"st0.0"}`, value}} }
}

func serve(t *testing.T, p *prometheus) *prometheus {
	t.Helper()
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *prometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.tokens = append(p.tokens, r.Header.Get("Authorization"))
	p.mu.Unlock()
	switch {
	case p.refuse != nil && p.refuse(w, r):
	case strings.HasSuffix(r.URL.Path, "/api/v1/status/runtimeinfo") && p.retention != "":
		fmt.Fprintf(w, `{"status":"success","data":{"storageRetention":%q}}`, p.retention)
	case strings.HasSuffix(r.URL.Path, "/api/v1/query_range"):
		p.query(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *prometheus) query(w http.ResponseWriter, r *http.Request) {
	asked := v1.Range{Start: number(r, "start"), End: number(r, "end"), Step: number(r, "step").Sub(time.Unix(0, 0))}
	if asked.End.Sub(asked.Start)/asked.Step > 11_000 {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries"}`)
		return
	}
	p.mu.Lock()
	p.ranges = append(p.ranges, asked)
	p.mu.Unlock()
	warnings, _ := json.Marshal(p.warnings)
	fmt.Fprintf(w, `{"status":"success","warnings":%s,"data":{"resultType":"matrix","result":[`, warnings)
	comma := ""
	for _, s := range p.series(r.FormValue("query")) {
		if samples := s.samples(asked); samples != "" {
			fmt.Fprintf(w, `%s{"metric":%s,"values":[%s]}`, comma, s.labels, samples)
			comma = ","
		}
	}
	io.WriteString(w, "]}}")
}

func (s stream) samples(asked v1.Range) string {
	var samples []string
	for at := asked.Start; !at.After(asked.End); at = at.Add(asked.Step) {
		if value := s.value(at); !math.IsNaN(value) {
			samples = append(samples, fmt.Sprintf(`[%d,"%s"]`, at.Unix(), strconv.FormatFloat(value, 'g', -1, 64)))
		}
	}
	return strings.Join(samples, ",")
}

func number(r *http.Request, name string) time.Time {
	seconds, _ := strconv.ParseFloat(r.FormValue(name), 64)
	return time.Unix(int64(seconds), 0)
}

func (p *prometheus) ask(t *testing.T, change func(*Query, *Options)) (Demands, error) {
	t.Helper()
	q := Query{URL: p.URL, Forward: "demand", Until: until, Since: time.Hour}
	o := outer
	if change != nil {
		change(&q, &o)
	}
	return ask(t.Context(), q, o)
}

func ask(ctx context.Context, q Query, o Options) (Demands, error) {
	a, err := NewAsking(q, o)
	if err != nil {
		return Demands{}, err
	}
	return a.Ask(ctx)
}

func TestAskInPieces(t *testing.T) {
	p := serve(t, &prometheus{series: one(func(at time.Time) float64 {
		if at.Minute() == 15 {
			return unknown
		}
		return float64(at.Unix() % 1e6)
	})})
	d, err := p.ask(t, func(q *Query, _ *Options) { q.Since = 90 * 24 * time.Hour })
	if err != nil {
		t.Fatal(err)
	}
	f := d.Forward
	start := until.Truncate(5*time.Minute).AddDate(0, 0, -90)
	if len(p.ranges) != 3 || len(f.BitsPerSecond) != 90*288+1 || !f.Start.Equal(start) || f.Step != 5*time.Minute || f.Spacing != f.Step || f.Layer != analysis.OuterLayer {
		t.Errorf("%d requests, %d bins of %v from %v", len(p.ranges), len(f.BitsPerSecond), f.Step, f.Start)
	}
	for bin, got := range f.BitsPerSecond {
		at := f.Start.Add(time.Duration(bin) * f.Step)
		if want := float64(at.Unix() % 1e6); at.Minute() == 15 && f.Known(bin) || at.Minute() != 15 && got != want {
			t.Fatalf("at %v: %v, want %v", at, got, want)
		}
	}
	again, err := p.ask(t, func(q *Query, _ *Options) { q.Since = 90 * 24 * time.Hour })
	if err != nil || again.SHA256 != d.SHA256 || len(d.SHA256) != 64 || d.Samples != 90*264+1 {
		t.Errorf("%d samples, hash %s, then %s, %v", d.Samples, d.SHA256, again.SHA256, err)
	}
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, "bit/s") || !strings.Contains(notes, "8.3 % of the time holds no samples: gaps 2160") {
		t.Errorf("notes: %s", notes)
	}
}

// No more is asked for than the server keeps.
func TestAskForWhatIsKept(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		retention  string
		since      time.Duration
		want       time.Duration
		wantedNote string
	}{
		"clipped":             {"15d or 10GiB", 30 * day, 15 * day, "keeps 15 days"},
		"kept":                {"15d", day, day, ""},
		"all that is kept":    {"5d", 0, 5 * day, ""},
		"said by size alone":  {"10GiB", 2 * day, 2 * day, ""},
		"not said":            {"", 2 * day, 2 * day, ""},
		"nothing said at all": {"", 0, 365 * day, ""},
	} {
		p := serve(t, &prometheus{retention: c.retention, series: one(always(1000))})
		d, err := p.ask(t, func(q *Query, _ *Options) { q.Since, q.Step = c.since, time.Hour })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Forward.End().Sub(d.Forward.Start) - time.Hour; got != c.want {
			t.Errorf("%s: %v asked for, want %v", name, got, c.want)
		}
		if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, c.wantedNote) || c.wantedNote == "" && strings.Contains(notes, "keeps") {
			t.Errorf("%s: notes %s", name, notes)
		}
	}
}

func TestAskAllFour(t *testing.T) {
	p := serve(t, &prometheus{series: func(query string) []stream {
		values := map[string]float64{"out": 1000, "in": 500, "out packets": 2, "in packets": 1}
		return []stream{{`{}`, always(values[query])}}
	}})
	d, err := p.ask(t, func(q *Query, o *Options) {
		q.Forward, q.Reverse, q.Packets, q.ReversePackets = "out", "in", "out packets", "in packets"
		o.Unit, o.Scale = "B/s", 2
	})
	if err != nil {
		t.Fatal(err)
	}
	got := [...]float64{d.Forward.BitsPerSecond[3], d.Reverse.BitsPerSecond[3], d.Forward.PacketsPerSecond[3], d.Reverse.PacketsPerSecond[3]}
	if got != [...]float64{16000, 8000, 4, 2} {
		t.Errorf("rates %v", got)
	}
}

// A raw counter is read as one, resets included; samples further apart than the steps
// make longer bins.
func TestAskForCounter(t *testing.T) {
	p := serve(t, &prometheus{series: one(func(at time.Time) float64 {
		if at.Minute()%10 != 0 {
			return unknown // Scraped every ten minutes.
		}
		return 100 * float64(at.Unix()%1800)
	})})
	d, err := p.ask(t, func(_ *Query, o *Options) { o.Unit = "bytes" })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{800, 800, unknown, 800, 800}, d.Forward.BitsPerSecond[:5], sameRates); diff != "" || d.Forward.Step != 10*time.Minute {
		t.Errorf("step %v (-want +got):\n%s", d.Forward.Step, diff)
	}
}

func TestDays(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * time.Minute: "1h30m0s", 24 * time.Hour: "1 day", 100 * time.Hour: "4.2 days", 15 * 24 * time.Hour: "15 days",
	} {
		if got := days(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// from and till are the value one within their time.
func from(begin time.Time) func(time.Time) float64 {
	return func(at time.Time) float64 {
		if at.Before(begin) {
			return unknown
		}
		return 1
	}
}

func till(end time.Time) func(time.Time) float64 {
	return func(at time.Time) float64 {
		if at.Before(end) {
			return 1
		}
		return unknown
	}
}

// Series whose labels differ late are not one, and the message says in what they differ.
func TestLongLabels(t *testing.T) {
	long := strings.Repeat("x", 2*mostMessage)
	p := serve(t, &prometheus{series: func(string) []stream {
		return []stream{
			{fmt.Sprintf(`{"a":%q,"b":"old"}`, long), till(until.AddDate(0, 0, -40))},
			{fmt.Sprintf(`{"a":%q,"b":"new"}`, long), from(until.AddDate(0, 0, -20))},
		}
	}})
	_, err := p.ask(t, func(q *Query, _ *Options) { q.Since = 76 * 24 * time.Hour }) // Two pieces, with one of them each.
	if err == nil || !strings.Contains(err.Error(), `gives {b="old"} and, later, {b="new"}: aggregate them with sum()`) {
		t.Errorf("error %v, want that there are two series", err)
	}
}

func TestAskRefuses(t *testing.T) {
	two := func(string) []stream {
		return []stream{{`{"ifName":"st0.0"}`, always(1)}, {`{"ifName":"st0.1"}`, always(2)}}
	}
	renamed := func(string) []stream {
		return []stream{
			{`{"instance":"old"}`, till(until.AddDate(0, 0, -40))},
			{`{"instance":"new"}`, from(until.AddDate(0, 0, -20))},
		}
	}
	for name, c := range map[string]struct {
		series func(string) []stream
		change func(*Query, *Options)
		want   []string
	}{
		"several series": {two, nil, []string{"2 series", `ifName="st0.0"`, `ifName="st0.1"`, "sum()"}},
		"renamed series": {renamed, func(q *Query, _ *Options) { q.Since = 76 * 24 * time.Hour }, []string{`instance="old"`, `instance="new"`, "sum()"}},
		"no samples":     {one(always(unknown)), nil, []string{`"demand"`, "no samples", "2026-01-31T10:02:00Z"}},
		"one sample": {one(func(at time.Time) float64 {
			return map[bool]float64{true: 1, false: unknown}[at.Minute() == 0 && at.Hour() == 10]
		}), nil,
			[]string{"fewer than 2 samples"}},
		"negative":         {one(always(-5)), nil, []string{"-5", "negative", "2026-01-31T09:00:00Z"}},
		"infinite":         {one(always(math.Inf(1))), nil, []string{"+Inf", "unit"}},
		"bytes":            {one(always(1)), func(q *Query, _ *Options) { q.Forward = "rate(ifHCOutOctets[5m])" }, []string{"bytes", "--demand-unit B/s"}},
		"no query":         {nil, func(q *Query, _ *Options) { q.Forward = "" }, []string{"no query", "PromQL"}},
		"packets of none":  {nil, func(q *Query, _ *Options) { q.ReversePackets = "x" }, []string{"way back"}},
		"long query":       {nil, func(q *Query, _ *Options) { q.Packets = strings.Repeat("x", mostQuery+1) }, []string{"longer"}},
		"step":             {nil, func(q *Query, _ *Options) { q.Step = time.Second / 2 }, []string{"1 s to 1 h"}},
		"since":            {nil, func(q *Query, _ *Options) { q.Since = -1 }, []string{"ten years"}},
		"too many samples": {nil, func(q *Query, _ *Options) { q.Since, q.Step = 30*24*time.Hour, time.Second }, []string{"30 days", "longer step"}},
		"no layer":         {nil, func(_ *Query, o *Options) { o.Layer = "" }, []string{"inner, outer or l2"}},
		"URL":              {nil, func(q *Query, _ *Options) { q.URL = "ftp://user:secret@x" }, []string{"http://"}},
		"no URL":           {nil, func(q *Query, _ *Options) { q.URL = "://user:secret@x\x00" }, []string{"http://"}},
		"no token":         {nil, func(q *Query, _ *Options) { q.TokenFile = "/nonexistent" }, []string{"bearer token", "/nonexistent"}},
	} {
		p := serve(t, &prometheus{series: c.series})
		_, err := p.ask(t, c.change)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v tells the password", name, err)
		}
	}
}

// What is wrong with a query by itself is told before anything is sent.
func TestNewAskingSendsNothing(t *testing.T) {
	p := serve(t, &prometheus{series: one(always(1))})
	for name, q := range map[string]Query{
		"sound":            {Forward: "x", Since: time.Hour},
		"bytes":            {Forward: "rate(ifHCOutOctets[5m])"},
		"step":             {Forward: "x", Step: 2 * time.Hour},
		"since":            {Forward: "x", Since: 4000 * 24 * time.Hour},
		"too many samples": {Forward: "x", Since: 30 * 24 * time.Hour, Step: time.Second},
		"token":            {Forward: "x", TokenFile: "/nonexistent"},
	} {
		q.URL = p.URL
		if _, err := NewAsking(q, outer); (err == nil) != (name == "sound") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if len(p.tokens) > 0 {
		t.Errorf("%d requests were sent", len(p.tokens))
	}
}

// What a server answers instead of series is explained, bounded, and without the
// credentials.
func TestAnswersExplained(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			io.WriteString(w, body)
			return true
		}
	}
	for name, c := range map[string]struct {
		refuse func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"query refused": {answer(400, `{"status":"error","errorType":"bad_data","error":"parse error: unexpected \u001b[2J"}`), `parse error: unexpected  [2J"`},
		"too heavy":     {answer(422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples"}`), "recording rule"},
		"unauthorised":  {answer(401, "who are you"), "other credentials"},
		"forbidden":     {answer(403, "go away"), "other credentials"},
		"not found":     {answer(404, "what"), "/api/v1"},
		"broken":        {answer(500, strings.Repeat("x", 1e6)), "server error: 500"},
		"a page":        {answer(200, "<html>"), "is it a Prometheus server?"},
		"a number":      {answer(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`), "instead of series"},
		"nothing":       {answer(200, `{"status":"success"}`), "instead of series"},
		"no series":     {answer(200, `{"status":"success","data":{"resultType":"matrix","result":[null]}}`), "instead of series"},
		"other times":   {answer(200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}`), "not asked for"},
		"a time twice":  {answer(200, fmt.Sprintf(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%d,"2"],[%[1]d,"2"]]}]}}`, until.Add(-2*time.Minute).Unix())), "not asked for"},
		"too much":      {answer(200, strings.Repeat(" ", mostAnswer+1)), "more than 8388608 bytes"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusTemporaryRedirect)
			return true
		}, "redirects to http://elsewhere.example: give that address"},
		"in circles": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}, "again and again"},
	} {
		p := serve(t, &prometheus{refuse: c.refuse})
		token := tokenFile(t, "hush-hush")
		_, err := p.ask(t, func(q *Query, _ *Options) {
			q.URL, q.TokenFile = strings.Replace(p.URL, "http://", "http://user:secret@", 1)+"/?key=hidden", token
		})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 600 {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
			continue
		}
		for _, credential := range []string{"secret", "hush", "hidden"} {
			if strings.Contains(err.Error(), credential) {
				t.Errorf("%s: %v tells %q", name, err, credential)
			}
		}
	}
}

func TestUnreachableServer(t *testing.T) {
	p := serve(t, &prometheus{})
	p.Close()
	_, err := p.ask(t, func(q *Query, _ *Options) { q.URL = strings.Replace(p.URL, "http://", "http://user:secret@", 1) })
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The token goes to the server with every request, and to no other.
func TestBearerToken(t *testing.T) {
	p := serve(t, &prometheus{series: one(always(1))})
	if _, err := p.ask(t, func(q *Query, _ *Options) { q.TokenFile = tokenFile(t, "hush-hush\n") }); err != nil {
		t.Fatal(err)
	}
	for _, token := range p.tokens {
		if token != "Bearer hush-hush" {
			t.Errorf("a request came with %q", token)
		}
	}
	other := serve(t, &prometheus{series: one(always(1))})
	p.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	if _, err := p.ask(t, func(q *Query, _ *Options) { q.TokenFile = tokenFile(t, "hush-hush") }); err == nil || len(other.tokens) > 0 {
		t.Errorf("error %v, and another server got %q", err, other.tokens)
	}
	for _, content := range []string{"", "\n", "two words", "line\nline", "käse", "a\x00b"} {
		if _, err := readToken(tokenFile(t, content)); err == nil || !strings.Contains(err.Error(), "printable") {
			t.Errorf("token %q: error %v", content, err)
		}
	}
}

func TestWarningsBecomeNotes(t *testing.T) {
	p := serve(t, &prometheus{series: one(always(1)), warnings: []string{"store unavailable", "\x1b[2J" + strings.Repeat("x", 1000)}})
	d, err := p.ask(t, func(q *Query, _ *Options) { q.Reverse = "back" })
	notes := strings.Join(d.Notes, "\n")
	if err != nil || strings.Count(notes, "store unavailable") != 1 || strings.ContainsRune(notes, '\x1b') || len(notes) > 800 {
		t.Errorf("%v, notes %s", err, notes)
	}
}

// Who gives up need not wait for the server.
func TestAskGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := serve(t, &prometheus{refuse: func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}})
	_, err := ask(ctx, Query{URL: p.URL, Forward: "x"}, outer)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the request was given up", err)
	}
}

// silent is a server that never answers.
type silent struct{ v1.API }

func (silent) Runtimeinfo(ctx context.Context) (v1.RuntimeinfoResult, error) {
	<-ctx.Done()
	return v1.RuntimeinfoResult{}, ctx.Err()
}

func (silent) QueryRange(ctx context.Context, _ string, _ v1.Range, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	<-ctx.Done()
	return nil, nil, nil, ctx.Err()
}

func TestServerThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &server{name: "http://silent", api: silent{}}
		if kept := s.retention(t.Context()); kept != 0 {
			t.Errorf("it keeps %v", kept)
		}
		_, err := s.rangeOf(t.Context(), "x", v1.Range{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*answerTime {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// Whatever a server answers is refused or sound.
func FuzzAnswer(f *testing.F) {
	at := until.Add(-2 * time.Minute).Unix()
	f.Add([]byte(fmt.Sprintf(`{"status":"success","warnings":["w"],"data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[%d,"2"],[%d,"NaN"],[%d,"3e3"]]}]}}`, at-600, at-300, at)))
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[null,{}]}}`))
	f.Add([]byte(`{"status":"error","errorType":"x","error":"y"}`))
	var body []byte
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }))
	f.Cleanup(answers.Close)
	f.Fuzz(func(t *testing.T, answer []byte) {
		body = answer
		d, err := ask(t.Context(), Query{URL: answers.URL, Forward: "x", Until: until, Since: time.Hour}, outer)
		if err != nil {
			if len(err.Error()) > 4000 {
				t.Errorf("message of %d bytes", len(err.Error()))
			}
			return
		}
		sound(t, d.Forward)
	})
}
