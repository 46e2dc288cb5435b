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

// A decoder of others reads our packets off the wire: header, IV, padding and inner
// packet, and finds their ICVs good. tshark 4.0 knows neither ChaCha20-Poly1305 nor
// extended sequence numbers (it ignores the last two fields of the SA, which later
// versions need to check the ICV, and checks as if there were none); TestVectors
// covers those.
func TestTsharkDecrypts(t *testing.T) {
	labtest.NeedProgram(t, "tshark")
	const gcm, cbc, none = "AES-GCM with 16 octet ICV [RFC4106]", "AES-CBC [RFC3602]", "NULL"
	const sha1, sha256, sha512 = "HMAC-SHA-1-96 [RFC2404]", "HMAC-SHA-256-128 [RFC4868]", "HMAC-SHA-512-256 [RFC4868]"
	tests := []struct {
		suite             tunnel.Suite
		cipher, integrity string // As tshark calls them.
		noESN             bool
		good              string // What it says of the ICV.
	}{
		{tunnel.AES128GCM, gcm, none, false, "0"},
		{tunnel.AES128GCM, gcm, none, true, "1"},
		{tunnel.AES256GCM, gcm, none, true, "1"},
		{tunnel.AES128CBCSHA1, cbc, sha1, true, "1"},
		{tunnel.AES256CBCSHA1, cbc, sha1, true, "1"},
		{tunnel.AES128CBCSHA256, cbc, sha256, false, "0"},
		{tunnel.AES128CBCSHA256, cbc, sha256, true, "1"},
		{tunnel.AES256CBCSHA256, cbc, sha256, true, "1"},
		{tunnel.AES128CBCSHA512, cbc, sha512, true, "1"},
		{tunnel.AES256CBCSHA512, cbc, sha512, true, "1"},
		{tunnel.NullSHA256, none, sha256, true, "1"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s, no ESN %t", test.suite, test.noESN), func(t *testing.T) {
			const secret = "shown to tshark"
			link := tunneltest.NewLink(t, tunneltest.PathMTU)
			spec := template(t, test.suite, tunnel.UDP, overhead.IPv4)
			spec.NoESN = test.noESN
			pair := link.OpenPair(t, esp.Driver{}, spec, false, secret)
			capture := tunneltest.NewCapture(t, link.Left.Outer)
			left, right := pair.DialPath(t)
			want := []string{}
			for i, length := range []int{0, 1, 2, 3, 1000} {
				send(t, left, right, length)
				want = append(want, fmt.Sprintf("%d|%s|198.18.0.1|198.18.0.2|%d|%d", i+1, test.good, tunnel.ProbePort, 8+length))
			}
			key, integrityKey := keysOf(t, test.suite, secret)
			sa := fmt.Sprintf(`uat:esp_sa:"IPv4","*","*","0x%08x","%s","%s","%s","%s","64-bit","0x0"`,
				pair.Right.Spec.Local.SPI, test.cipher, key, test.integrity, integrityKey)
			if diff := cmp.Diff(want, dissect(t, sa, capture.Frames(t))); diff != "" {
				t.Errorf("sequence number, good ICV, inner addresses, inner port, inner UDP length (-want +got):\n%s", diff)
			}
		})
	}
}

// keysOf are the keys of what left sends, as tshark takes them.
func keysOf(t *testing.T, suite tunnel.Suite, secret string) (cipher, integrity string) {
	t.Helper()
	lengths, err := suite.Transform()
	if err != nil {
		t.Fatal(err)
	}
	left, _ := tunneltest.Keys(secret)
	material, err := left.Key(tunnel.Send, 0, lengths.KeyMaterial())
	if err != nil {
		t.Fatal(err)
	}
	end := lengths.Key + lengths.Salt
	return text(material[:end]), text(material[end:])
}

func text(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	return "0x" + hex.EncodeToString(key)
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

// dissect returns a line for each frame: ESP sequence number, whether its ICV is
// good, then the fields of the last IP and UDP headers in it, which are the inner
// ones.
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
	command := exec.Command("tshark", "-r", path, "-Y", "esp", "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE", "-o", sa,
		"-T", "fields", "-E", "separator=|", "-E", "occurrence=l",
		"-e", "esp.sequence", "-e", "esp.icv_good", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.dstport", "-e", "udp.length")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("run tshark: %v\n%s", err, &complaints)
	}
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}
