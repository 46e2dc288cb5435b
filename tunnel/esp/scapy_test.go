package esp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// scapy, which is nobody's of ours, opens what we seal, and the reverse. It knows
// extended sequence numbers with AEADs; with HMACs it does not check them.
func TestScapyUnderstands(t *testing.T) {
	labtest.NeedProgram(t, "scapy3")
	const gcm, chacha, cbc, none = "AES-GCM", "CHACHA20-POLY1305", "AES-CBC", "NULL"
	const sha1, sha256, sha512 = "HMAC-SHA1-96", "SHA2-256-128", "SHA2-512-256"
	tests := []struct {
		suite             tunnel.Suite
		cipher, integrity string // As scapy calls them.
		extended          bool
	}{
		{tunnel.AES128GCM, gcm, none, true},
		{tunnel.AES128GCM, gcm, none, false},
		{tunnel.AES256GCM, gcm, none, true},
		{tunnel.AES256GCM, gcm, none, false},
		{tunnel.ChaCha20Poly1305, chacha, none, true},
		{tunnel.ChaCha20Poly1305, chacha, none, false},
		{tunnel.AES128CBCSHA1, cbc, sha1, false},
		{tunnel.AES256CBCSHA1, cbc, sha1, false},
		{tunnel.AES128CBCSHA256, cbc, sha256, false},
		{tunnel.AES256CBCSHA256, cbc, sha256, false},
		{tunnel.AES128CBCSHA512, cbc, sha512, false},
		{tunnel.AES256CBCSHA512, cbc, sha512, false},
		{tunnel.NullSHA256, none, sha256, false},
		{tunnel.NullNull, none, none, false},
	}
	packets := [][]byte{ipv4(20), ipv4(21), ipv4(22), ipv4(1400), ipv6(40), ipv6(57)}
	var tasks strings.Builder
	for _, test := range tests {
		sa := fmt.Sprintf("%s %s %x", scapyKeys(t, test.suite, test.cipher, test.integrity), map[bool]string{true: "esn", false: "no-esn"}[test.extended], testSPI)
		for _, inner := range packets {
			out, _ := newSAsOf(t, test.suite, test.extended, defaultWindow)
			fmt.Fprintf(&tasks, "open %s %x\nseal %s %x\n", sa, sealed(out, inner), sa, inner)
		}
	}
	answers := askScapy(t, tasks.String(), 2*len(tests)*len(packets))
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s, extended %t", test.suite, test.extended), func(t *testing.T) {
			for _, want := range packets {
				if diff := cmp.Diff(want, answers[0]); diff != "" {
					t.Errorf("scapy opens %d bytes (-want +got):\n%s", len(want), diff)
				}
				_, in := newSAsOf(t, test.suite, test.extended, defaultWindow)
				into := make([]byte, len(answers[1]))
				n, v := open(in, answers[1], into)
				if v != delivered || !bytes.Equal(want, into[:n]) {
					t.Errorf("scapy seals %d bytes: verdict %d, %d bytes", len(want), v, n)
				}
				answers = answers[2:]
			}
		})
	}
}

// scapyKeys are both algorithms, each with its key.
func scapyKeys(t *testing.T, suite tunnel.Suite, cipher, integrity string) string {
	t.Helper()
	lengths, err := suite.Transform()
	if err != nil {
		t.Fatal(err)
	}
	material, err := fixedKeys{}.Key(tunnel.Send, firstGeneration, lengths.KeyMaterial())
	if err != nil {
		t.Fatal(err)
	}
	end := lengths.Key + lengths.Salt
	return fmt.Sprintf("%s %x- %s %x-", cipher, material[:end], integrity, material[end:])
}

// askScapy gives all tasks to one process, which takes a second to start.
func askScapy(t *testing.T, tasks string, count int) [][]byte {
	t.Helper()
	command := exec.Command("/usr/bin/python3", "testdata/askscapy.py") // That of the distribution, as scapy is.
	command.Stdin = strings.NewReader(tasks)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("run scapy: %v\n%s", err, &complaints)
	}
	var answers [][]byte
	for line := range strings.Lines(string(output)) {
		answer, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("read scapy's answer %q: %v", line, err)
		}
		answers = append(answers, answer)
	}
	if len(answers) != count {
		t.Fatalf("got %d answers of scapy, want %d\n%s", len(answers), count, &complaints)
	}
	return answers
}
