package esp_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// A decoder of others reads our packets off the wire: header, nonce, padding and
// inner packet. tshark 4.0 knows neither ChaCha20-Poly1305 nor extended sequence
// numbers (it ignores the last two fields of the SA, which later versions need
// to check the ICV); TestVectorsTransform covers those.
func TestTsharkDecrypts(t *testing.T) {
	labtest.NeedProgram(t, "tshark")
	tests := []struct {
		suite     tunnel.Suite
		keyLength int // With salt, in bytes.
	}{
		{tunnel.AES128GCM, 16 + 4},
		{tunnel.AES256GCM, 32 + 4},
	}
	for _, test := range tests {
		t.Run(string(test.suite), func(t *testing.T) {
			const secret = "shown to tshark"
			link := tunneltest.NewLink(t, tunneltest.PathMTU)
			pair := link.OpenPair(t, esp.Driver{}, template(t, test.suite, overhead.IPv4), false, secret)
			capture := tunneltest.NewCapture(t, link.Left.Outer)
			left, right := pair.DialPath(t)
			for _, length := range []int{0, 1, 2, 3, 1000} {
				send(t, left, right, length)
			}

			leftKeys, _ := tunneltest.Keys(secret)
			key, err := leftKeys.Key(tunnel.Send, 0, test.keyLength)
			if err != nil {
				t.Fatal(err)
			}
			sa := fmt.Sprintf(`uat:esp_sa:"IPv4","*","*","0x%08x","AES-GCM with 16 octet ICV [RFC4106]","0x%s","NULL","","64-bit","0x0"`,
				pair.Right.Spec.Local.SPI, hex.EncodeToString(key))
			got := dissect(t, sa, capture.Frames(t))
			want := []string{}
			for i, length := range []int{0, 1, 2, 3, 1000} {
				want = append(want, fmt.Sprintf("%d|198.18.0.1|198.18.0.2|%d|%d", i+1, tunnel.ProbePort, 8+length))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sequence number, inner addresses, inner port, inner UDP length (-want +got):\n%s", diff)
			}
		})
	}
}

func send(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	if _, err := from.Write(make([]byte, length)); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Read(make([]byte, length+1)); err != nil {
		t.Fatal(err)
	}
}

// dissect returns a line for each frame: ESP sequence number, then the fields of
// the last IP and UDP headers in it, which are the inner ones.
func dissect(t *testing.T, sa string, frames [][]byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outer.pcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := tunneltest.WritePcap(file, frames); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("tshark", "-r", path, "-Y", "esp", "-o", "esp.enable_encryption_decode:TRUE", "-o", sa,
		"-T", "fields", "-E", "separator=|", "-E", "occurrence=l",
		"-e", "esp.sequence", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.dstport", "-e", "udp.length")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("run tshark: %v\n%s", err, &complaints)
	}
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}
