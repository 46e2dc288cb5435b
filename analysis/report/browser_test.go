package report

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	printing "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"tunnelmark/lab/labtest"
)

// browserTime is for all pages together: CI has two slow cores.
const browserTime = 8 * time.Minute

// problemsScript says what is wrong with a page as it is laid out now, as a list.
//
//go:embed testdata/problems.js
var problemsScript string

// The pages are opened as their readers open them: from a file, without network, at a
// desk and on a phone, by day and by night, and printed.
func TestPagesInBrowser(t *testing.T) {
	labtest.NeedProgram(t, "chromium")
	b := startBrowser(t)
	t.Run("sees what is wrong", func(t *testing.T) { seesProblems(t, b) })
	for _, f := range planFixtures {
		t.Run("plan-"+f.name, func(t *testing.T) {
			p := b.save(t, planOutput(t, WritePlanHTML, f.report()))
			p.check(t, screensOf(f.name))
			if f.name != "hostile" {
				p.print(t)
			}
		})
	}
	for _, f := range fixtures {
		t.Run("find-"+f.name, func(t *testing.T) {
			b.save(t, output(t, WriteHTML, f.result())).check(t, screensOf(f.name))
		})
	}
	t.Run("keyboard", func(t *testing.T) { skips(t, b.save(t, planOutput(t, WritePlanHTML, growPlan()))) })
}

// browser is one Chromium for all pages.
type browser struct{ ctx context.Context }

// startBrowser ends it, and looks that it has gone, when the test does.
func startBrowser(t *testing.T) browser {
	t.Helper()
	profile := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), browserTime)
	t.Cleanup(cancel)
	allocator, end := chromedp.NewExecAllocator(ctx, chromedp.ExecPath("chromium"), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true))
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closeTab()
		end()
		gone(t, profile)
	})
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return browser{tab}
}

// gone waits for the last of the browser's processes, which all name its profile.
func gone(t *testing.T, profile string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := processesOf(profile)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("chromium is still there: %v", left)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func processesOf(profile string) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(profile)) {
			found = append(found, path)
		}
	}
	return found
}

// savedPage is a page in a file.
type savedPage struct {
	browser
	url   string
	heard *heard
}

func (b browser) save(t *testing.T, text []byte) savedPage {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return savedPage{b, "file://" + path, &heard{}}
}

// screen is how somebody reads a page.
type screen struct {
	name         string
	width        int64
	scheme       string
	paper, phone bool
}

// Paper is A4, 210 by 297 mm, less the margins of 12 mm of page/style.css, at 96 pixels
// an inch.
const (
	paperWidth  = 703
	paperHeight = 1031.0
)

var screens = []screen{
	{name: "desk, light", width: 1280, scheme: "light"},
	{name: "desk, dark", width: 1280, scheme: "dark"},
	{name: "phone, light", width: 390, scheme: "light", phone: true},
	{name: "phone, dark", width: 390, scheme: "dark", phone: true},
	{name: "paper", width: paperWidth, scheme: "light", paper: true},
}

// screensOf leaves out paper where words are longer than it is wide.
func screensOf(fixture string) []screen {
	if fixture == "hostile" {
		return screens[:len(screens)-1]
	}
	return screens
}

// check loads the page once and looks at it on each screen.
func (p savedPage) check(t *testing.T, screens []screen) {
	t.Helper()
	ctx := p.open(t)
	for _, s := range screens {
		for _, problem := range p.look(t, ctx, s) {
			t.Errorf("%s: %s", s.name, problem)
		}
	}
	for _, problem := range p.heard.problems(p.url) {
		t.Error(problem)
	}
}

// open loads the page without network, in a tab that closes with the test.
func (p savedPage) open(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	t.Cleanup(cancel)
	offline := network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: []*network.Conditions{{Offline: true, DownloadThroughput: -1, UploadThroughput: -1}}}
	if err := chromedp.Do(ctx,
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error { return chromedp.Listen(ctx, p.heard.listen) }),
		call(network.Enable, network.EnableParams{}), call(network.EmulateNetworkConditionsByRule, offline),
		chromedp.Navigate(p.url),
	); err != nil {
		t.Fatalf("open the page: %v", err)
	}
	return ctx
}

// look says what is wrong with the page for one reader.
func (p savedPage) look(t *testing.T, ctx context.Context, s screen) []string {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}}
	if s.paper {
		media.Media = "print"
	}
	if err := chromedp.Do(ctx,
		call(emulation.SetEmulatedMedia, media),
		chromedp.EmulateViewport(s.width, 900, func(screen *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
			screen.Mobile = s.phone
		}),
	); err != nil {
		t.Fatalf("%s: show the page: %v", s.name, err)
	}
	problems, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](problemsScript))
	if err != nil {
		t.Fatalf("%s: look at the page: %v", s.name, err)
	}
	return problems
}

// print holds that the first sheet is one page of paper, and that the page prints.
func (p savedPage) print(t *testing.T) {
	t.Helper()
	ctx := p.open(t)
	p.look(t, ctx, screens[len(screens)-1])
	height, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`document.querySelector(".sheet").getBoundingClientRect().bottom + scrollY`))
	if err != nil {
		t.Fatal(err)
	}
	if height > paperHeight {
		t.Errorf("the first sheet takes %.0f of %.0f pixels", height, float64(paperHeight))
	}
	printed, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPrintBackground(),
		func(p *printing.PrintToPDFParams) { yes := true; p.PreferCSSPageSize = &yes }))
	if err != nil || !bytes.HasPrefix(printed, []byte("%PDF-")) || len(printed) < 10_000 {
		t.Errorf("print: %d bytes, %v", len(printed), err)
	}
}

// heard is what a page said and asked for while it loaded.
type heard struct {
	mu       sync.Mutex
	said     []string
	requests []string
}

func (h *heard) listen(event any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		h.requests = append(h.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		h.said = append(h.said, fmt.Sprintf("exception: %v", e.ExceptionDetails.Text))
	case *runtime.EventConsoleAPICalled:
		h.said = append(h.said, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		h.said = append(h.said, "log: "+e.Entry.Text)
	}
}

func (h *heard) problems(url string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := h.said
	for _, r := range h.requests {
		if r != url {
			problems = append(problems, "requests "+r)
		}
	}
	if len(h.requests) == 0 {
		problems = append(problems, "no request was seen, not even its own")
	}
	return problems
}

// seesProblems plants one of each.
func seesProblems(t *testing.T, b browser) {
	p := b.save(t, []byte(`<!DOCTYPE html><html><body><h1>planted</h1><h3>skips</h3>
<p style="width: 3000px">wide</p><p style="color: #bbb; background: #fff">faint</p>
<table><tr><th>bare</th></tr></table>
<svg class="chart" width="300" height="100"><title id="empty-title">x</title></svg>
<svg class="chart" width="300" height="100"><title id="crowded-title">x</title><path class="line" d="M0 0H300"/>
<text x="10" y="20">one label</text><text x="15" y="22">over another</text><text x="290" y="90">beyond the edge</text></svg>
<img src="http://192.0.2.1/tracker.png"><script>console.error("said"); throw new Error("thrown")</script></body></html>`))
	ctx := p.open(t)
	got := strings.Join(append(p.look(t, ctx, screens[0]), p.heard.problems(p.url)...), "\n")
	for _, want := range []string{
		"H3 after level 1", "wider than the screen", "contrast", "table without a caption", "th without a scope", "empty: nothing is drawn",
		"crowded: “one label” meets “over another”", "crowded: “beyond the edge” is cut off", "requests http://192.0.2.1/tracker.png", "console.error", "exception: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing about %q in\n%s", want, got)
		}
	}
	if got := strings.Join(p.look(t, ctx, screens[len(screens)-1]), "\n"); !strings.Contains(got, "wider than the screen") {
		t.Errorf("what paper cuts off is not seen in\n%s", got)
	}
}

// skips goes to the decision by keyboard alone.
func skips(t *testing.T, p savedPage) {
	ctx := p.open(t)
	if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
		t.Fatal(err)
	}
	seen, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.activeElement.className == "skip" && document.activeElement.getBoundingClientRect().left >= 0`))
	if err != nil || !seen {
		t.Errorf("the first tab shows no skip link: %v", err)
	}
	if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	at, err := chromedp.Run(ctx, chromedp.Poll[string](`document.activeElement.id`))
	if err != nil || at != "decision" {
		t.Errorf("the skip link leads to %q: %v", at, err)
	}
}

// call makes an action of a command of the protocol.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}
