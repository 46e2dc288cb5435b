package latency

import (
	"strings"
	"testing"
)

func TestParseCondition(t *testing.T) {
	for _, tt := range []struct {
		text, canonical string
		want            Condition
	}{
		{"rtt>30ms", "rtt>30ms", Condition{Metric: RTT, RTT: 30 * ms}},
		{" rtt >= 1s ", "rtt>=1s", Condition{Metric: RTT, OrEqual: true, RTT: 1000 * ms}},
		{"loss>1%", "loss>1%", Condition{Metric: Loss, LossRatio: 0.01}},
		{"loss > 0.01", "loss>1%", Condition{Metric: Loss, LossRatio: 0.01}},
		{"loss>0%", "loss>0%", Condition{Metric: Loss}},
		{"loss>0.7%", "loss>0.7%", Condition{Metric: Loss, LossRatio: 0.007}},
		{"loss>=100 %", "loss>=100%", Condition{Metric: Loss, OrEqual: true, LossRatio: 1}},
	} {
		got, err := ParseCondition(tt.text)
		if err != nil || got.String() != tt.canonical {
			t.Errorf("%q: got %v, %v, want %s", tt.text, got, err, tt.canonical)
		}
		if near := got.LossRatio - tt.want.LossRatio; got.Metric != tt.want.Metric || got.OrEqual != tt.want.OrEqual || got.RTT != tt.want.RTT || near > 1e-12 || near < -1e-12 {
			t.Errorf("%q: got %#v, want %#v", tt.text, got, tt.want)
		}
	}
}

func TestParseConditionRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "no > or >="},
		{"rtt<30ms", "no > or >="},
		{"rtt=30ms", "no > or >="},
		{"jitter>30ms", `"jitter" cannot be measured, rtt and loss can`},
		{">30ms", `"" cannot be measured`},
		{"rtt>30", "no duration with a unit"},
		{"rtt>1%", "no duration with a unit"},
		{"rtt>=", "no duration with a unit"},
		{"rtt>>30ms", "no duration with a unit"},
		{"rtt>0s", "allowed are up to 1s"},
		{"rtt>-1ms", "allowed are up to 1s"},
		{"rtt>2s", "allowed are up to 1s"},
		{"loss>30ms", "no share"},
		{"loss>", "no share"},
		{"loss>NaN", "allowed are 0% to 100%"},
		{"loss>Inf", "allowed are 0% to 100%"},
		{"loss>5", "a share without % is a ratio"},
		{"loss>-1%", "allowed are 0% to 100%"},
		{"loss>101%", "allowed are 0% to 100%"},
		{"loss>=0%", "write loss>0%"},
		{"loss>100%", "write loss>=100%"},
	} {
		_, err := ParseCondition(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.text, err, tt.want)
		}
	}
}

// What is taken can be checked, written and, but for its last digits, read again.
func FuzzParseCondition(f *testing.F) {
	for _, text := range []string{"rtt>30ms", "loss>=1%", "loss>0.5", "rtt>=1h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			return
		}
		if err := c.check(); err != nil {
			t.Errorf("%q was taken, but %v", text, err)
		}
		if c.Metric == Loss && !c.OrEqual && c.LossRatio > 0.999999 || c.Metric == Loss && c.LossRatio < 1e-300 {
			return // Written as 100 % and 0 %.
		}
		again, err := ParseCondition(c.String())
		if err != nil || again.String() != c.String() {
			t.Errorf("%q is written as %q and read as %q, %v", text, c, again, err)
		}
	})
}
