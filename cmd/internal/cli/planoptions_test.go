package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
)

func TestParseClaim(t *testing.T) {
	for text, want := range map[string]capacity.Claim{
		"800Mbps,layer=outer":                            {BitsPerSecond: 800e6, Layer: analysis.OuterLayer},
		"1.2G,source=data sheet 2014,size=1400,layer=l2": {BitsPerSecond: 1.2e9, Layer: analysis.EthernetLayer, InnerSize: 1400, Source: "data sheet 2014"},
	} {
		got, err := parseClaim(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"":                                   "such as 350Mbps",
		"fast,layer=outer":                   "such as 350Mbps",
		"800Mbps":                            "its layer is not named: add layer=outer",
		"800Mbps,size=1400":                  "its layer is not named",
		"800Mbps,layer=":                     `"" is not a layer: want inner`,
		"800Mbps,layer=goodput":              `"goodput" is not a layer`,
		"800Mbps,outer":                      `"outer" is not one of layer=LAYER, size=BYTES and source=TEXT`,
		"800Mbps,layer=outer,colour=1":       `"colour" is not one of`,
		"800Mbps,layer=outer,layer=l2":       "layer is given twice",
		"800Mbps,layer=outer,size=20":        `size "20" is not from 64 to 65535 bytes`,
		"800Mbps,layer=outer,size=1k":        `size "1k" is not from`,
		"800Mbps,layer=outer,source=":        `source "" is not a text`,
		"800Mbps,layer=outer,source=\x1b[2J": "is not a text of one line",
		"800Mbps,layer=outer,source=" + strings.Repeat("x", mostWords+1): "at most 120 bytes",
	} {
		if got, err := parseClaim(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestParsePrice(t *testing.T) {
	for text, want := range map[string]analysis.Price{
		"4000USD":             {Currency: "USD", Once: 4000},
		"50eur/month":         {Currency: "EUR", Monthly: 50},
		"4000USD+50USD/month": {Currency: "USD", Once: 4000, Monthly: 50},
		"49.99CHF/month+0CHF": {Currency: "CHF", Monthly: 49.99},
	} {
		got, err := parsePrice(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"", "4000", "USD", "4,000USD", "-4USD", "4000US", "4000USD/year", "1e9USD", "NaNUSD", "1USD+", "1USD+2USD", "1USD/month+2USD/month",
		"4000USD+50EUR/month", "1USD+2USD/month+3USD", "4000.123USD", "9999999999999USD",
	} {
		if got, err := parsePrice(text); err == nil || !strings.Contains(err.Error(), "such as 4000USD, 50USD/month") {
			t.Errorf("%q: %+v, %v, want an error that says what is allowed", text, got, err)
		}
	}
}

func TestParseRemedies(t *testing.T) {
	got, err := parseRemedies([]string{
		"SRX345=800Mbps,layer=outer,size=1400,source=data sheet@4000USD",
		"two tunnels=a@b.json",
		"chacha=chacha.json@20USD/month",
		"cloud=1.25Gbps,layer=inner,source=notes.json",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []remedy{
		{name: "SRX345", claim: &capacity.Claim{BitsPerSecond: 800e6, Layer: analysis.OuterLayer, InnerSize: 1400, Source: "data sheet"}, price: &analysis.Price{Currency: "USD", Once: 4000}},
		{name: "two tunnels", file: "a@b.json"},
		{name: "chacha", file: "chacha.json", price: &analysis.Price{Currency: "USD", Monthly: 20}},
		{name: "cloud", claim: &capacity.Claim{BitsPerSecond: 1.25e9, Layer: analysis.InnerLayer, Source: "notes.json"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(remedy{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		texts []string
		want  string
	}{
		"no name":         {[]string{"=800M,layer=outer"}, `--option =800M,layer=outer: name "" is not a text`},
		"no rate":         {[]string{"SRX345"}, "want NAME=RATE,layer=LAYER@PRICE or NAME=FILE.json@PRICE"},
		"layer as in run": {[]string{"SRX345=800M@outer"}, `"outer" is not a price`},
		"no layer":        {[]string{"SRX345=800M@4000USD"}, "its layer is not named"},
		"a name twice":    {[]string{"x=1G,layer=outer", "x=2G,layer=outer"}, `there is another "x"`},
	} {
		if got, err := parseRemedies(c.texts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, want an error with %q", name, got, err, c.want)
		}
	}
}

func TestParseShares(t *testing.T) {
	got, err := parseShares([]string{"100%", "0.7", "80%", "70%"})
	if diff := cmp.Diff([]float64{0.7, 0.8, 1}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for want, texts := range map[string][]string{
		"is not a share from 0 to 1": {"70%", "180%"},
	} {
		if got, err := parseShares(texts); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--share") {
			t.Errorf("%v: %v, %v, want an error with %q", texts, got, err, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	berlin, err := place("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2015-06-15":                "2015-06-15T00:00:00+02:00",
		"2015-06-15T08:00:00Z":      "2015-06-15T10:00:00+02:00",
		"2015-12-15T08:00:00-05:00": "2015-12-15T14:00:00+01:00",
	} {
		if got, err := parseDate(text, berlin); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "June", "2015-6-15", "15.06.2015", "2015-02-30", "1969-12-31", "9999-01-01", "2015-06-15 08:00"} {
		if got, err := parseDate(text, berlin); err == nil || !strings.Contains(err.Error(), "such as 2015-06-15") {
			t.Errorf("%q: %v, %v, want an error that says what is allowed", text, got, err)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, text := range []string{"", "Berlin", "../../etc/passwd", "+02:00"} {
		if got, err := place(text); err == nil || !strings.Contains(err.Error(), "such as UTC or Europe/Berlin") {
			t.Errorf("%q: %v, %v, want an error that says what is allowed", text, got, err)
		}
	}
}

// Whatever is taken is what it says it is.
func FuzzParseRemedy(f *testing.F) {
	for _, seed := range []string{"SRX345=800Mbps,layer=outer,size=1400,source=x@4000USD+50USD/month", "a=b.json@1EUR", "a=1G,layer=l2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRemedy(text)
		if err != nil {
			return
		}
		if (r.claim == nil) == (r.file == "") || r.name == "" || !strings.HasPrefix(text, r.name+"=") {
			t.Errorf("%q: %+v is neither a claim nor a file", text, r)
		}
		if c := r.claim; c != nil && (!(c.BitsPerSecond > 0) || c.Layer == "" || c.InnerSize < 0) {
			t.Errorf("%q: claims %+v", text, *c)
		}
		if p := r.price; p != nil && (len(p.Currency) != 3 || !(p.Once >= 0) || !(p.Monthly >= 0)) {
			t.Errorf("%q: costs %+v", text, *p)
		}
	})
}
