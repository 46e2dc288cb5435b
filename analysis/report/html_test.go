package report

import (
	"bytes"
	"testing"
)

func TestWriteHTMLGolden(t *testing.T) {
	var out bytes.Buffer
	if err := WriteHTML(&out, policerResult()); err != nil {
		t.Fatal(err)
	}
	golden(t, fixtureName("policer", "html"), out.Bytes())
}
