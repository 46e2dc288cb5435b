package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
)

// layers are those in which a network counts.
var layers = []analysis.Layer{analysis.InnerLayer, analysis.OuterLayer, analysis.EthernetLayer}

// parseLayer reads a layer that must be named.
func parseLayer(text string) (analysis.Layer, error) {
	if layer := analysis.Layer(text); slices.Contains(layers, layer) {
		return layer, nil
	}
	return "", fmt.Errorf("%q is not a layer: want %s", text, layerWords)
}

// layerWords says which layer is which.
const layerWords = "inner (IP packets that enter the tunnel), outer (those that leave it) or l2 (the frames of an interface counter)"

// parseClaim reads what a vendor states: 'RATE,layer=LAYER[,size=BYTES][,source=TEXT]'.
func parseClaim(text string) (*capacity.Claim, error) {
	words := strings.Split(text, ",")
	rate, err := unit.BitRate(words[0])
	if err != nil {
		return nil, err
	}
	claim := &capacity.Claim{BitsPerSecond: rate}
	given := map[string]bool{}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if given[key] {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		given[key] = true
		if err := setClaim(claim, key, value); err != nil {
			return nil, err
		}
	}
	if claim.Layer == "" {
		return nil, errors.New("its layer is not named: add layer=outer, or what the vendor counts; rates of one tunnel in different layers differ by 5 to 60 %")
	}
	return claim, nil
}

func setClaim(claim *capacity.Claim, key, value string) (err error) {
	switch key {
	case "layer":
		claim.Layer, err = parseLayer(value)
	case "size":
		claim.InnerSize, err = parseSize(value)
	case "source":
		claim.Source, err = parseWords("source", value)
	default:
		return fmt.Errorf("%q is not one of layer=LAYER, size=BYTES and source=TEXT (a text has no comma)", key)
	}
	return err
}

func parseSize(text string) (int, error) {
	size, err := strconv.Atoi(text)
	if err != nil || size < controller.LeastSize || size > controller.MostSize {
		return 0, fmt.Errorf("size %q is not from %d to %d bytes", text, controller.LeastSize, controller.MostSize)
	}
	return size, nil
}

// mostWords bounds what people write about an option, in bytes.
const mostWords = 120

// parseWords reads what is printed as it is.
func parseWords(what, text string) (string, error) {
	control := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) })
	if strings.TrimSpace(text) == "" || len(text) > mostWords || control || !utf8.ValidString(text) {
		return "", fmt.Errorf("%s %q is not a text of one line and at most %d bytes", what, text, mostWords)
	}
	return text, nil
}

// remedy is one --option: a vendor's claim, or a file with a result that was measured.
type remedy struct {
	name  string
	claim *capacity.Claim
	file  string
	price *analysis.Price
}

// parseRemedy reads 'NAME=CLAIM[@PRICE]' or 'NAME=FILE.json[@PRICE]'.
func parseRemedy(text string) (r remedy, err error) {
	name, what, found := strings.Cut(text, "=")
	if !found {
		return r, errors.New("want NAME=RATE,layer=LAYER@PRICE or NAME=FILE.json@PRICE, the price is optional")
	}
	if r.name, err = parseWords("name", name); err != nil {
		return r, err
	}
	if at := strings.LastIndex(what, "@"); at >= 0 && !isResultFile(what) {
		if r.price, err = parsePrice(what[at+1:]); err != nil {
			return r, err
		}
		what = what[:at]
	}
	if isResultFile(what) {
		r.file = what
		return r, nil
	}
	r.claim, err = parseClaim(what)
	return r, err
}

func isResultFile(text string) bool {
	first, _, _ := strings.Cut(text, ",")
	_, err := unit.BitRate(first)
	return err != nil && strings.HasSuffix(text, ".json")
}

// pricePart is one part of a price: 4000USD, 50USD/month.
var pricePart = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,2})?)([A-Za-z]{3})(/month)?$`)

// parsePrice reads 4000USD, 50USD/month or 4000USD+50USD/month.
func parsePrice(text string) (*analysis.Price, error) {
	const allowed = "%q is not a price such as 4000USD, 50USD/month or 4000USD+50USD/month"
	parts := strings.Split(text, "+")
	read := &analysis.Price{}
	given := map[bool]bool{} // Whether monthly.
	for _, part := range parts {
		words := pricePart.FindStringSubmatch(part)
		if words == nil {
			return nil, fmt.Errorf(allowed, text)
		}
		amount, err := strconv.ParseFloat(words[1], 64)
		currency, monthly := strings.ToUpper(words[2]), words[3] != ""
		if err != nil || given[monthly] || read.Currency != "" && read.Currency != currency {
			return nil, fmt.Errorf(allowed+" in one currency", text)
		}
		given[monthly], read.Currency = true, currency
		if monthly {
			read.Monthly = amount
		} else {
			read.Once = amount
		}
	}
	return read, nil
}

// parseRemedies reads all --option, whose names differ.
func parseRemedies(texts []string) ([]remedy, error) {
	var all []remedy
	for _, text := range texts {
		r, err := parseRemedy(text)
		if err == nil && slices.ContainsFunc(all, func(other remedy) bool { return other.name == r.name }) {
			err = fmt.Errorf("there is another %q", r.name)
		}
		if err != nil {
			return nil, fmt.Errorf("--option %s: %w", text, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// parseShares reads shares of a capacity, in order and each once.
func parseShares(texts []string) (shares []float64, err error) {
	for _, text := range texts {
		share, err := unit.Ratio(text)
		if err != nil {
			return nil, fmt.Errorf("--share: %w", err)
		}
		shares = append(shares, share)
	}
	slices.Sort(shares)
	return slices.Compact(shares), nil
}

// parseDate reads a day, which begins at midnight of a place, or an instant.
func parseDate(text string, place *time.Location) (time.Time, error) {
	date, err := time.ParseInLocation(time.DateOnly, text, place)
	if err != nil {
		date, err = time.Parse(time.RFC3339, text)
	}
	if err != nil || date.Year() < 1970 || date.Year() > 2200 {
		return time.Time{}, fmt.Errorf("%q is not a date such as 2015-06-15 or 2015-06-15T08:00:00Z, from 1970 to 2200", text)
	}
	return date.In(place), nil
}

// directionWords are those of --directions.
var directionWords = map[string]capacity.Directions{
	"as-measured": capacity.AsMeasured, "shared": capacity.Shared, "apart": capacity.Apart,
}

func parseDirections(text string) (capacity.Directions, error) {
	directions, known := directionWords[text]
	if !known {
		return "", fmt.Errorf("--directions: %q is not as-measured, shared or apart", text)
	}
	return directions, nil
}

// layerNames are for completion.
func layerNames() []string { return kind.Words(layers) }
