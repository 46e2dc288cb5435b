package demand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Bounds of what is taken from a server.
const (
	answerTime   = 2 * time.Minute // As long as Prometheus itself gives a query.
	mostAnswer   = 8 << 20         // Bytes; 11,000 points need some 400 kB.
	mostToken    = 64 << 10
	mostWarnings = 5
	mostMessage  = 300 // Bytes of what the server says.
	mostExamples = 5   // Of series, in a message.
	mostHops     = 5
)

// server is a Prometheus server.
type server struct {
	name      string // Its URL, without credentials.
	api       v1.API
	transport *http.Transport
	notes     []string
}

func newServer(q Query) (*server, error) {
	address, err := url.Parse(q.URL)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, errors.New("the server's URL is not one such as http://prometheus.example:9090") // It may hold a password, so it is not shown.
	}
	token, err := readToken(q.TokenFile)
	if err != nil {
		return nil, err
	}
	s := &server{name: (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}).String()}
	s.transport = http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: &guard{next: s.transport, token: token}, CheckRedirect: sameServer}
	connection, err := api.NewClient(api.Config{Address: q.URL, Client: client})
	if err != nil {
		return nil, fmt.Errorf("use server %s: its URL is not understood", s.name)
	}
	s.api = v1.NewAPI(connection)
	if _, password := address.User.Password(); (password || token != "") && address.Scheme == "http" && !isLoopback(address.Hostname()) {
		s.notes = append(s.notes, "The server's credentials were sent without encryption: prefer https.")
	}
	return s, nil
}

func (s *server) close() { s.transport.CloseIdleConnections() }

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// readToken reads a bearer token (RFC 6750, Section 2.1) from a file; "": there is none.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read bearer token: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, mostToken))
	if err != nil {
		return "", fmt.Errorf("read bearer token: %w", err)
	}
	token := bytes.TrimSpace(content)
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("read bearer token: %s does not hold one line of printable characters", path)
	}
	return string(token), nil
}

// sameServer lets a server send us on within itself only: credentials are for it
// alone.
func sameServer(request *http.Request, via []*http.Request) error {
	if first := via[0].URL; request.URL.Host != first.Host || request.URL.Scheme != first.Scheme {
		return fmt.Errorf("it redirects to %s://%s: give that address", request.URL.Scheme, request.URL.Host)
	}
	if len(via) > mostHops {
		return errors.New("it redirects again and again")
	}
	return nil
}

// guard adds the token to requests and bounds the answers.
type guard struct {
	next  http.RoundTripper
	token string
}

func (g *guard) RoundTrip(request *http.Request) (*http.Response, error) {
	if g.token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+g.token)
	}
	response, err := g.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, mostAnswer)
	return response, nil
}

// retention is how long the server keeps samples; zero where it does not say, as
// others that speak its language do not.
func (s *server) retention(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := s.api.Runtimeinfo(ctx)
	if err != nil {
		return 0
	}
	age, _, _ := strings.Cut(info.StorageRetention, " or ") // "15d or 10GiB"
	kept, err := model.ParseDuration(age)
	if err != nil {
		return 0
	}
	return time.Duration(kept)
}

// rangeOf asks for one series; nil: there are no samples in that time.
func (s *server) rangeOf(ctx context.Context, query string, r v1.Range) (*model.SampleStream, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	value, warnings, infos, err := s.api.QueryRange(ctx, query, r)
	if err != nil {
		return nil, s.explain(err)
	}
	s.warned(warnings)
	s.warned(infos)
	matrix, ok := value.(model.Matrix)
	if !ok || slices.Contains(matrix, nil) {
		return nil, fmt.Errorf("%s answers with something else instead of series over time: is it a Prometheus server?", s.name)
	}
	if len(matrix) > 1 {
		return nil, fmt.Errorf("%d series, such as %s: aggregate them with sum(), or choose one by its labels", len(matrix), examples(matrix))
	}
	if len(matrix) == 0 || len(matrix[0].Values) == 0 {
		return nil, nil
	}
	return matrix[0], nil
}

// examples lists some of the series' labels.
func examples(matrix model.Matrix) string {
	var some []string
	for _, stream := range matrix[:min(len(matrix), mostExamples)] {
		some = append(some, labelsOf(stream))
	}
	return strings.Join(some, ", ")
}

func labelsOf(stream *model.SampleStream) string { return short(stream.Metric.String()) }

// warned keeps what the server warns of, once.
func (s *server) warned(warnings []string) {
	for _, w := range warnings {
		note := "The server says: " + strconv.Quote(short(w)) + "."
		if len(s.notes) < mostWarnings && !slices.Contains(s.notes, note) {
			s.notes = append(s.notes, note)
		}
	}
}

// explain says what a failed request means. The client's own errors show the URL with
// its credentials, and are not passed on whole.
func (s *server) explain(err error) error {
	var large *http.MaxBytesError
	var answer *v1.Error
	var request *url.Error
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%s answers with more than %d bytes: aggregate the series with sum()", s.name, large.Limit)
	case errors.As(err, &answer):
		return fmt.Errorf("%s answers %s%s", s.name, strconv.Quote(short(answer.Error())), advice(answer))
	case errors.As(err, &request):
		err = request.Err
	}
	return fmt.Errorf("ask %s: %w", s.name, err)
}

// advice says what to do about an answer.
func advice(answer *v1.Error) string {
	switch {
	case strings.HasSuffix(answer.Msg, " 401"), strings.HasSuffix(answer.Msg, " 403"):
		return ": it wants other credentials, a bearer token in a file or user and password in its URL"
	case strings.HasSuffix(answer.Msg, " 404"):
		return ": is there a path before /api/v1 in its URL?"
	case answer.Type == v1.ErrBadResponse:
		return ": is it a Prometheus server?"
	case answer.Type == v1.ErrTimeout, answer.Type == v1.ErrExec:
		return ": if the query is too heavy, ask a recording rule's series or for less time"
	}
	return ""
}

// short makes what a server says fit for a message: cut, and without characters that
// would move a terminal's cursor.
func short(text string) string {
	if len(text) > mostMessage {
		text = text[:mostMessage] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
